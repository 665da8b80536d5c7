"""The tables of a new journal, as :mod:`s3batch.journal.schema`'s steps make them of an older one.

A new journal needs no step, so it is made without sqlite-utils, which costs 60 ms to import: a third of a short job.
A test compares both ways. docs/journal.md explains every column.
"""

VERSION = 5
"""The schema version of these tables."""

TABLES = """\
CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY,
    applied REAL,
    program TEXT
);

CREATE TABLE job (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL DEFAULT '',
    command TEXT NOT NULL DEFAULT '',
    source TEXT NOT NULL DEFAULT '',
    target TEXT NOT NULL DEFAULT '',
    endpoint TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    started REAL NOT NULL DEFAULT 0.0,
    ended REAL,
    exit_code INTEGER,
    resumed INTEGER NOT NULL DEFAULT 0,
    planned INTEGER NOT NULL DEFAULT 0,
    files INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    unchanged INTEGER NOT NULL DEFAULT 0,
    found_unchanged INTEGER NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL DEFAULT 0,
    requests TEXT NOT NULL DEFAULT '',
    settings TEXT NOT NULL DEFAULT '',
    after_operation INTEGER NOT NULL DEFAULT 0,
    continues TEXT NOT NULL DEFAULT '',
    takes TEXT NOT NULL DEFAULT '[]',
    plan TEXT NOT NULL DEFAULT '',
    stage INTEGER NOT NULL DEFAULT 0,
    seen REAL NOT NULL DEFAULT 0,
    timeout REAL NOT NULL DEFAULT 60,
    store_date REAL NOT NULL DEFAULT 0,
    left_open INTEGER NOT NULL DEFAULT 0,
    learned INTEGER NOT NULL DEFAULT 0,
    seen_there REAL NOT NULL DEFAULT 0
);

CREATE TABLE operation (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL DEFAULT 0 REFERENCES job(number),
    kind TEXT NOT NULL DEFAULT '',
    key TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    path TEXT NOT NULL DEFAULT '',
    size INTEGER NOT NULL DEFAULT 0,
    mtime_ns INTEGER NOT NULL DEFAULT 0,
    inode INTEGER NOT NULL DEFAULT 0,
    stage INTEGER NOT NULL DEFAULT 0,
    listed_etag TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    recheck INTEGER NOT NULL DEFAULT 0,
    upload_id TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    code TEXT NOT NULL DEFAULT '',
    status INTEGER NOT NULL DEFAULT 0,
    request_id TEXT NOT NULL DEFAULT '',
    seconds REAL NOT NULL DEFAULT 0.0,
    bytes INTEGER NOT NULL DEFAULT 0,
    etag TEXT NOT NULL DEFAULT '',
    checksum TEXT NOT NULL DEFAULT '',
    written REAL NOT NULL DEFAULT 0.0,
    fingerprint TEXT NOT NULL DEFAULT '',
    ctime_ns INTEGER NOT NULL DEFAULT 0,
    device INTEGER NOT NULL DEFAULT 0,
    version_id TEXT,
    previous_version_id TEXT
);

CREATE TABLE warning (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL DEFAULT 0 REFERENCES job(number),
    text TEXT NOT NULL DEFAULT ''
);

CREATE TABLE remembered (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL DEFAULT ''
);

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
    checksum TEXT,
    local_ctime_ns INTEGER NOT NULL DEFAULT 0,
    local_device INTEGER NOT NULL DEFAULT 0,
    planned INTEGER NOT NULL DEFAULT 0,
    writer INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE doubt (
    key TEXT PRIMARY KEY NOT NULL,
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    upload INTEGER NOT NULL,
    since REAL NOT NULL,
    until REAL NOT NULL
) WITHOUT ROWID;

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

CREATE UNIQUE INDEX idx_job_id ON job (id);
CREATE UNIQUE INDEX idx_warning_job_text ON warning (job, text);
CREATE INDEX operation_with_upload ON operation (key) WHERE upload_id <> '';

CREATE VIEW progress AS
    SELECT job.id AS job, operation.kind, operation.state, count(*) AS operations, sum(operation.size) AS bytes
    FROM operation JOIN job ON job.number = operation.job
    GROUP BY operation.job, operation.kind, operation.state;

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
