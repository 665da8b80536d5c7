"""The journal's tables, version by version, for a journal of an older version; docs/journal.md explains every column to the public.

    job 1──n operation 1──n part          the plan of a job, and its progress
    job 1──n warning
    object                                the objects of the target: the last listing, and facts of own writes
    doubt                                 keys that a dead run was working on (version 3, replaces upload_left)
    remembered                            facts about the endpoint, and small state of the listing

Each version is a step from the one before, taken by sqlite-utils. A new journal takes none: it is made of
:mod:`s3batch.journal.tables`, which holds the result of all steps. Indexes are few on purpose, since each costs about 3 us a row:

- ``operation (job, key)``, unique, up to version 2: no operation is planned again in the same job any more;
- ``operation (key)`` of the few rows with an open multipart upload: adoption, and uploads left behind.

Leasing needs none: it walks up the row numbers once. ``object`` and ``part`` are stored in key order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlite_utils import Database

JOB: dict[str, Any] = {
    "number": int,
    "id": str,
    "command": str,
    "source": str,
    "target": str,
    "endpoint": str,
    "state": str,
    "version": str,
    "started": float,
    "ended": float,
    "exit_code": int,
    "resumed": int,
    "planned": int,
    "files": int,
    "bytes": int,
    "unchanged": int,
    "found_unchanged": int,
    "retries": int,
    "requests": str,
    "settings": str,
    "after_operation": int,
}

OPERATION: dict[str, Any] = {
    "id": int,
    "job": int,
    "kind": str,
    "key": str,
    "reason": str,
    "path": str,
    "size": int,
    "mtime_ns": int,
    "inode": int,
    "stage": int,
    "listed_etag": str,
    "detail": str,
    "state": str,
    "attempts": int,
    "recheck": int,
    "upload_id": str,
    "error": str,
    "code": str,
    "status": int,
    "request_id": str,
    "seconds": float,
    "bytes": int,
    "etag": str,
    "checksum": str,
    "written": float,
    "fingerprint": str,
}

UPLOAD_LEFT: dict[str, Any] = {"id": int, "job": int, "key": str, "upload_id": str}
WARNING: dict[str, Any] = {"id": int, "job": int, "text": str}
REMEMBERED: dict[str, Any] = {"name": str, "value": str}

KEYED_TABLES = """
CREATE TABLE part (
    operation INTEGER NOT NULL REFERENCES operation(id),
    number INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT NOT NULL DEFAULT '',
    checksum TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'pending',
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (operation, number)
) WITHOUT ROWID;

CREATE TABLE object (
    key TEXT PRIMARY KEY NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    etag TEXT NOT NULL DEFAULT '',
    modified REAL NOT NULL DEFAULT 0,
    listed INTEGER NOT NULL DEFAULT 0,
    seen INTEGER NOT NULL DEFAULT 0,
    known_etag TEXT,
    known_size INTEGER,
    local_size INTEGER,
    local_mtime_ns INTEGER,
    local_inode INTEGER,
    written REAL,
    fingerprint TEXT,
    checksum TEXT
) WITHOUT ROWID;

CREATE INDEX operation_with_upload ON operation (key) WHERE upload_id <> '';

CREATE VIEW progress AS
    SELECT job.id AS job, operation.kind, operation.state, count(*) AS operations, sum(operation.size) AS bytes
    FROM operation JOIN job ON job.number = operation.job
    GROUP BY operation.job, operation.kind, operation.state;
"""


STAMPS = (
    "ALTER TABLE operation ADD COLUMN ctime_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE operation ADD COLUMN device INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE object ADD COLUMN local_ctime_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE object ADD COLUMN local_device INTEGER NOT NULL DEFAULT 0",
)
"""Version 2: a file's stamp has a ctime. It is 0, unknown, in rows of an older version."""


HISTORY = """
ALTER TABLE job ADD COLUMN continues TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN takes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE job ADD COLUMN plan TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN stage INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN seen REAL NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN timeout REAL NOT NULL DEFAULT 60;
ALTER TABLE job ADD COLUMN store_date REAL NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN left_open INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN learned INTEGER NOT NULL DEFAULT 0;
UPDATE job SET seen = coalesce(ended, CAST(strftime('%s', 'now') AS REAL)), learned = state IN ('done', 'superseded'), left_open =
    (SELECT count(*) FROM operation WHERE operation.job = job.number AND operation.state IN ('pending', 'leased'));
UPDATE job SET state = 'superseded' WHERE command = 'sync' AND state NOT IN ('done', 'superseded') AND EXISTS
    (SELECT 1 FROM job AS later WHERE later.number > job.number AND later.command = 'sync'
    AND later.target = job.target AND later.endpoint = job.endpoint);
ALTER TABLE object ADD COLUMN planned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE object ADD COLUMN writer INTEGER NOT NULL DEFAULT 0;
CREATE TABLE doubt (
    key TEXT PRIMARY KEY NOT NULL,
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    upload INTEGER NOT NULL,
    since REAL NOT NULL,
    until REAL NOT NULL
) WITHOUT ROWID;
INSERT OR IGNORE INTO doubt SELECT key, '', 'upload', 1, min(job.started), 0
    FROM upload_left JOIN job ON job.number = upload_left.job WHERE upload_id = '' GROUP BY key;
DROP INDEX idx_operation_job_key;
INSERT INTO operation (job, kind, key, reason, state, upload_id, error)
    SELECT job, 'upload', key, 'content', 'skipped', upload_id, 'the file changed' FROM upload_left WHERE upload_id <> '';
DROP TABLE upload_left;
"""


STORE_CLOCK = "ALTER TABLE job ADD COLUMN seen_there REAL NOT NULL DEFAULT 0"


REPORTS = """
CREATE TABLE sample (
    job INTEGER NOT NULL REFERENCES job(number),
    at REAL NOT NULL,
    operations INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, at)
) WITHOUT ROWID;

CREATE TABLE listed_path (
    list TEXT NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (list, path)
) WITHOUT ROWID;

CREATE TABLE ending (
    job INTEGER PRIMARY KEY REFERENCES job(number),
    facts TEXT NOT NULL
);

ALTER TABLE operation ADD COLUMN version_id TEXT;
ALTER TABLE operation ADD COLUMN previous_version_id TEXT;

CREATE VIEW runs AS
    SELECT job.id, job.command, job.state,
        CASE WHEN job.source LIKE 's3://%' THEN rtrim(job.source, '/') ELSE job.source END AS source,
        CASE WHEN job.target LIKE '/%' THEN job.target WHEN job.target LIKE 's3://%' THEN rtrim(job.target, '/')
            ELSE 's3://' || rtrim(job.target, '/') END AS target,
        strftime('%Y-%m-%d %H:%M:%S', job.started, 'unixepoch') AS began,
        strftime('%Y-%m-%d %H:%M:%S', job.ended, 'unixepoch') AS ended,
        round(coalesce(job.ended, job.seen) - job.started, 3) AS seconds,
        (SELECT count(*) FROM operation WHERE operation.job = job.number AND operation.state = 'done') AS sent,
        (SELECT count(*) FROM operation WHERE operation.job = job.number AND operation.state = 'failed') AS failed
    FROM job ORDER BY job.number DESC;

CREATE VIEW failures AS
    SELECT job.id AS job, operation.kind AS operation, operation.key, operation.path, operation.code, operation.error,
        operation.attempts, strftime('%Y-%m-%d %H:%M:%S', coalesce(job.ended, job.seen), 'unixepoch') AS at
    FROM operation JOIN job ON job.number = operation.job WHERE operation.state = 'failed' ORDER BY operation.id;

CREATE VIEW slowest AS
    SELECT job.id AS job, operation.key, operation.size, operation.seconds,
        round(operation.size / 1048576.0 / operation.seconds, 3) AS mib_per_second
    FROM operation JOIN job ON job.number = operation.job
    WHERE operation.state = 'done' AND operation.seconds > 0 ORDER BY operation.seconds DESC;
"""
"""Version 5: samples of the course of a job, the lists of ``files_from``, endings of jobs, and views for people."""


def add_reports(db: Database) -> None:
    """Make version 5: what reports read, and lists of files. Views name the columns in words, with readable times."""
    for statement in REPORTS.split(";\n"):
        if statement.strip():
            db.execute(statement)


def add_store_clock(db: Database) -> None:
    """Make version 4: a sign of life has the store's time too, which is 0 in rows of an older version."""
    db.execute(STORE_CLOCK)


def begin_history(db: Database) -> None:
    """Make version 3: a job runs once, and a later one to its target takes over its unfinished work."""
    for statement in HISTORY.split(";\n"):
        if statement.strip():
            db.execute(statement)


def create_tables(db: Database) -> None:
    """Make version 1 in an empty database, inside the caller's transaction."""
    _create_table(db, "job", JOB, pk="number", optional={"ended", "exit_code"})
    db.table("job").create_index(["id"], unique=True)
    _create_table(db, "operation", OPERATION, pk="id", foreign_keys=[("job", "job", "number")])
    db.table("operation").create_index(["job", "key"], unique=True)
    _create_table(db, "upload_left", UPLOAD_LEFT, pk="id", foreign_keys=[("job", "job", "number")])
    _create_table(db, "warning", WARNING, pk="id", foreign_keys=[("job", "job", "number")])
    db.table("warning").create_index(["job", "text"], unique=True)
    _create_table(db, "remembered", REMEMBERED, pk="name")
    for statement in KEYED_TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)


def add_stamp_columns(db: Database) -> None:
    """Make version 2 of version 1, inside the caller's transaction."""
    for statement in STAMPS:
        db.execute(statement)


def _create_table(
    db: Database,
    name: str,
    columns: dict[str, Any],
    *,
    pk: str,
    optional: frozenset[str] | set[str] = frozenset(),
    foreign_keys: list[tuple[str, str, str]] | None = None,
) -> None:
    """Make a table whose columns are empty or zero unless said otherwise, and never NULL but ``optional``."""
    filled = [column for column in columns if column not in optional and column != pk]
    db.table(name).create(
        columns,
        pk=pk,
        not_null=filled,
        defaults={column: columns[column]() for column in filled},
        foreign_keys=foreign_keys or [],
    )
