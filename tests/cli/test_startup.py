"""What a short run imports: its time is start-up, and every module that it does not need makes it longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3

_ROOT = Path(__file__).parents[2]
HEAVY = {
    "argparse", "asyncio", "awscrt", "boto3", "botocore", "calendar", "concurrent.futures", "copy", "configargparse",
    "dask", "dataclasses", "email", "encodings.idna", "gzip", "hashlib", "html", "http.client", "inspect", "locale",
    "logging", "pathlib", "platformdirs", "random", "s3transfer", "secrets", "shlex", "shutil", "sqlite_utils",
    "ssl", "subprocess", "tempfile", "tqdm", "traceback", "urllib.request",
}  # fmt: skip
"""Modules of others that cost 1 ms or more, many of them 5, and that a sync of one file over HTTP can do without."""
OF_OTHER_JOBS = {
    "s3batch.cli.argument_parser", "s3batch.cli.customer_key", "s3batch.commands.sync.cloudfront",
    "s3batch.commands.sync.object_manifest", "s3batch.journal.file_lists", "s3batch.journal.moved_objects",
    "s3batch.journal.rehearsal", "s3batch.journal.reversals", "s3batch.plan.blocked_uploads",
    "s3batch.plan.file_list", "s3batch.plan.renames", "s3batch.settings.bandwidth", "s3batch.worker.backup",
    "s3batch.worker.delete", "s3batch.worker.metadata_copy",
    "s3batch.worker.multipart", "s3batch.worker.reconcile", "s3batch.worker.redirect", "s3batch.worker.rename",
    "s3batch.worker.restore",
}  # fmt: skip
"""Modules of s3batch that a plain upload has no use for; each costs up to 1 ms, and there are many."""


@pytest.mark.parametrize("again", [False, True], ids=["a new journal", "a journal that is there"])
def test_a_sync_of_one_file_imports_nothing_heavy(tmp_path: Path, again: bool) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "index.html").write_text("hello")
    with FakeS3() as store:
        arguments = [
            "sync", str(tmp_path / "source"), "s3://b/site/", "--endpoint-url", store.url, "--region", "us-east-1",
            "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, "--journal", str(tmp_path / "journal.db"),
        ]  # fmt: skip
        of_workers = set() if again else {"pickle"}  # a worker looks at the young file again
        script = (
            "import sys; from s3batch.cli import main; assert main() == 0;"
            f"print('heavy:', sorted({HEAVY | OF_OTHER_JOBS | of_workers!r} & set(sys.modules)))"
        )
        environ = program.clean_environment(tmp_path) | {"HOME": str(tmp_path)}
        environ = {name: value for name, value in environ.items() if not name.startswith("XDG_")}
        for _ in range(1 + again):
            ran = subprocess.run(
                [sys.executable, "-c", script, *arguments], env=environ, text=True, capture_output=True, check=True
            )

        assert ran.stdout.splitlines()[-1] == "heavy: []"
        assert set(store.objects["b"]) == {"site/index.html"}


def test_the_version_is_told_without_the_command_line() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "s3batch", "--version"]
    ran = subprocess.run(command, text=True, capture_output=True, check=True)

    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert ran.stdout.startswith("s3batch ")
    assert "s3batch.reporting.console" in imported
    assert not imported & {"s3batch.cli", "s3batch.settings.table", "configargparse", "hashlib", "urllib.parse"}


def test_little_is_imported_before_signals_are_handled() -> None:
    """A signal before that ends the process as Python or the system does: without the documents that were asked for."""
    script = "import sys; before = set(sys.modules); import s3batch.__main__; print(*sorted(set(sys.modules) - before))"
    ran = subprocess.run([sys.executable, "-S", "-c", script], text=True, capture_output=True, check=True, cwd=_ROOT)

    assert not set(ran.stdout.split()) & {"typing", "re", "contextlib", "s3batch.cli", "s3batch.base.errors"}
    assert "s3batch.__main__" in ran.stdout
