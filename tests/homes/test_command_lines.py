"""The command lines of the docs, in the order of their pages: each works as printed, and does what the page says.

Only ids of jobs and addresses of the internet are replaced. tests/homes/test_pages.py has the lines of two more pages.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from s3batch.cli import main
from tests.rig.fake_s3 import FakeS3, Reply, Stored, error
from tests.rig.program import ROOT

TREE = {
    "site/index.html": "<p>", "site/about.pdf": "%PDF", "site/app.js": "js", "site/app.js.map": "map", "site/a.log": "log",
    "site/keep.log": "log", "site/d1/a.html": "d1", "site/d1/b.txt": "d1", "site/draft/x.html": "draft",
    "site/docs/index.html": "docs", "public/index.html": "<p>", "report.pdf": "%PDF", "node_modules/a/index.js": "js",
    ".npm/b": "b",
}  # fmt: skip
SITE = {f"www/{path.removeprefix('site/')}" for path in TREE if path.startswith("site/")}
ID = re.compile(r"\b202611(?:21-224014-20657a|29-080000-a1b2c3)\b")
CI = {"DRONE": "true", "DRONE_REPO": "octo/site", "DRONE_REPO_BRANCH": "main", "DRONE_COMMIT_BRANCH": "main"}


def lines_of(page: str) -> list[str]:
    """Return the command lines of a page."""
    found = re.findall(r"^    (?:\$ )?((?:s3batch|git|find) .+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    return [line for line in found if not re.search(r"[A-Z]{5,}(?:/|$)", line)]  # a synopsis, such as s3://BUCKET/KEY


@dataclass
class Shell:
    """A shell with s3batch on PATH, in a directory with the files of the docs."""

    store: FakeS3
    here: Path
    environ: dict[str, str]

    def run(self, line: str, *, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a line, which must end with that exit code."""
        if ID.search(line):
            line = ID.sub(self.newest(), line)
        ran = (
            self._run_here(line)
            if line.startswith("s3batch") and not set("$<>") & set(line)
            else self._run_in_bash(line)
        )
        assert ran.returncode == code, (line, ran.stdout, ran.stderr)
        return ran

    def _run_here(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line without anything of the shell's, in this process: a start costs more than the work."""
        out, err = io.StringIO(), io.StringIO()
        words = shlex.split(line, comments=True)[1:]
        with contextlib.chdir(self.here):
            code = main(words, self.environ, out, err)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    def _run_in_bash(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line}"], cwd=self.here, env=self.environ, text=True, capture_output=True,
            check=False, timeout=120,
        )  # fmt: skip

    def newest(self) -> str:
        """Return the id of the newest job, also of one below the directory."""
        listed = self.run("s3batch jobs list --json").stdout
        named = self.here / "build/s3batch.db"
        more = self.run(f"s3batch jobs list --json --journal {named}").stdout if named.exists() else '{"jobs": []}'
        found = [*json.loads(listed)["jobs"], *json.loads(more)["jobs"]]
        return str(max(found, key=lambda job: job["started"])["job"])

    def stored(self, prefix: str = "www/") -> set[str]:
        """Return the keys below a prefix, but those of s3batch itself."""
        return {key for key in self.bucket if key.startswith(prefix) and "/.s3batch/" not in key}

    @property
    def bucket(self) -> dict[str, Stored]:
        """The objects of my-bucket."""
        return self.store.objects["my-bucket"]

    def refuse(self, pattern: str) -> None:
        """Refuse uploads of these keys; none for an empty pattern."""
        self.store.meddle = lambda request: (
            Reply(403, body=error("AccessDenied"))
            if pattern and request.name == "PutObject" and re.search(pattern, request.key)
            else None
        )


@pytest.fixture
def shell(store: FakeS3, keys: dict[str, str], runner: dict[str, str], tmp_path: Path) -> Shell:
    here = tmp_path / "checkout"
    for path, text in TREE.items():
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_text(text)
    store.objects["my-bucket"] = {}
    more = {"AWS_ENDPOINT_URL": store.url, "AWS_REGION": "us-east-1", "S3BATCH_EXECUTOR": "inline"}
    return Shell(store, here, {**runner, **keys, **more})


Act = Callable[[Shell, str], object]


def plain(shell: Shell, line: str) -> None:
    shell.run(line)


def fills_target(shell: Shell, line: str) -> None:
    shell.run(line)
    assert shell.stored() == SITE


def only(*paths: str) -> Act:
    """A sync of just these paths, into a target without any."""

    def act(shell: Shell, line: str) -> None:
        shell.bucket.clear()
        shell.run(line)
        assert shell.stored() == {f"www/{path}" for path in paths}

    return act


def shows_a_dry_run(shell: Shell, line: str) -> None:
    shell.bucket["www/old.html"] = shell.bucket["www/index.html"]
    assert "delete www/old.html" in shell.run(line).stdout
    assert "www/old.html" in shell.stored()
    del shell.bucket["www/old.html"]


def sends_one_file(shell: Shell, line: str) -> None:
    shell.run(line)
    assert shell.bucket["reports/2026.pdf"].body == b"%PDF"


def resumes(begin: str) -> Act:
    """Finishes what a refused sync has left."""

    def act(shell: Shell, line: str) -> None:
        shell.bucket.clear()
        shell.refuse("app.js$")
        shell.run(begin, code=1)
        shell.refuse("")
        shell.run(line)
        assert shell.stored() == SITE

    return act


def writes(*names: str) -> Act:
    """Writes these files."""

    def act(shell: Shell, line: str) -> None:
        for name in names:
            (shell.here / name).unlink(missing_ok=True)
        shell.run(line)
        assert all((shell.here / name).stat().st_size for name in names)

    return act


def prints(text: str, code: int = 0) -> Act:
    """Prints this, on either stream."""

    def act(shell: Shell, line: str) -> None:
        ran = shell.run(line, code=code)
        assert text in ran.stdout + ran.stderr

    return act


def undoes(shell: Shell, line: str) -> None:
    before = shell.bucket["www/index.html"].body
    (shell.here / "site/index.html").write_text(f"changed after {before!r}")
    shell.run("s3batch sync site s3://my-bucket/www --delete --backup s3://my-bucket/backups")
    assert shell.bucket["www/index.html"].body != before
    shell.run(line)
    assert shell.bucket["www/index.html"].body == before


def applies(shell: Shell, line: str) -> None:
    (shell.here / "site/new.html").write_text("new")
    shell.run("s3batch sync site s3://my-bucket/www --delete --plan release.plan")
    shell.run(line)
    assert "www/new.html" in shell.stored()
    (shell.here / "site/new.html").unlink()
    del shell.bucket["www/new.html"]


def backs_up(shell: Shell, line: str) -> None:
    (shell.here / "site/app.js").write_text("another")
    shell.run(line)
    assert any(key.endswith("/www/app.js") for key in shell.stored(prefix="backups/"))


def rebuilds(shell: Shell, line: str) -> None:
    shell.run(line)
    assert [key for key in shell.store.objects["build-cache"] if "/npm" in key or "npm" in key]


def restores(shell: Shell, line: str) -> None:
    assert "no cache" in shell.run(line).stderr


def sends_events(shell: Shell, line: str) -> None:
    events = [json.loads(text)["event"] for text in shell.run(line).stdout.splitlines()]
    assert (events[0], events[-1]) == ("begun", "ended")


def tells_a_command(shell: Shell, line: str) -> None:
    shell.run(line.replace("mail -s backup me@example.org", "cat > state"))
    assert (shell.here / "state").read_text() == "done\n"


def tells_an_address(shell: Shell, line: str) -> None:
    """The address is one where nobody listens: one warning, and the exit code stays."""
    said = shell.run(re.sub(r"https://\S+", "http://127.0.0.1:9/hook", line)).stderr
    assert said.count("warning") == 1


def sends_changed_files(shell: Shell, line: str) -> None:
    for git in ("init -q .", "add site", "commit -qm one", "tag v1", "add -f public", "commit -qm two", "tag v2"):
        shell.run(f"git -c user.name=a -c user.email=a@example.org {git}")
    shell.bucket.clear()
    shell.run(line)
    assert shell.stored() == {"www/public/index.html"}


def sends_newer_files(shell: Shell, line: str) -> None:
    for name, when in {"stamp": 1000, "public/index.html": 2000}.items():
        (shell.here / name).touch()
        os.utime(shell.here / name, (when, when))
    for path in shell.here.rglob("*"):
        if path.name not in {"stamp"} and "public" not in path.parts:
            os.utime(path, (500, 500))
    shell.bucket.clear()
    shell.run(line.replace("find . ", "find . -type f "))
    assert shell.stored() == {"www/public/index.html"}


SYNC = "s3batch sync site s3://my-bucket/www"
STORIES: dict[str, dict[str, Act]] = {
    "cli.md": {
        SYNC: fills_target,
        f"{SYNC} --delete --max-delete 10% --dry-run": shows_a_dry_run,
        "s3batch sync report.pdf s3://my-bucket/reports/2026.pdf": sends_one_file,
        "s3batch resume": resumes(SYNC),
        "s3batch resume 20261121-224014-20657a --journal build/s3batch.db": resumes(f"{SYNC} --journal build/s3batch.db"),
        "s3batch resume --all": resumes(SYNC),
        "s3batch report --report job.html": writes("job.html"),
        "s3batch report 20261121-224014-20657a --report job.csv --report job.md": writes("job.csv", "job.md"),
        "s3batch jobs list": prints("s3://my-bucket/www"),
        "s3batch jobs show 20261121-224014-20657a": prints("s3://my-bucket/www"),
        "s3batch verify site s3://my-bucket/www": prints("no difference"),
        "s3batch verify site s3://my-bucket/www --acl public-read --exclude '*.map' --json": prints('"differences"', 1),
        "s3batch undo 20261121-224014-20657a": undoes,
        f"{SYNC} --delete --plan release.plan": writes("release.plan"),
        "s3batch plan release.plan": prints("plan of "),
        "s3batch apply release.plan": applies,
        "s3batch explain docs/index.html site s3://my-bucket/www --delete": prints("key           www/docs/index.html"),
        "s3batch doctor s3://my-bucket/www": prints("needed requests work"),
        "s3batch doctor s3://my-bucket/www --delete --acl public-read --encryption aws:kms --kms-key-id alias/site": prints("needed requests work"),
        "s3batch cache restore --bucket build-cache --cache-key npm --cache node_modules --cache .npm": restores,
        "s3batch cache rebuild --bucket build-cache --cache-key npm --cache node_modules --cache .npm": rebuilds,
        "s3batch cache list s3://build-cache": prints("octo/site"),
        "s3batch cache prune --bucket build-cache --ttl 30d --keep-last 3 --max-total 50GiB --dry-run": plain,
        "s3batch config sync --delete": prints("--delete"),
        "s3batch config plugin": prints("setting"),
        "s3batch completion bash": prints("complete -o"),
    },
    "undo.md": {
        "s3batch explain docs/index.html site s3://my-bucket/www --delete": prints("www/docs/index.html"),
        "s3batch explain www/old.html site s3://my-bucket/www --delete --json": prints('"action": "delete"'),
        "s3batch explain docs/index.html s3://my-bucket/www site --delete": prints("www/docs/index.html"),
        "s3batch explain www/old.html s3://my-bucket/www s3://other/www": prints("transfer"),
        f"{SYNC} --delete --plan release.plan": writes("release.plan"),
        "s3batch plan release.plan": prints("delete www/old.html"),
        "s3batch apply release.plan": applies,
        f"{SYNC} --delete --backup s3://my-bucket/backups": backs_up,
        "s3batch jobs list": prints("s3://my-bucket/www"),
        "s3batch undo 20261129-080000-a1b2c3": undoes,
        "s3batch backup prune s3://my-bucket/backups --older-than 30d --dry-run": prints("0 backups"),
        f'{SYNC} --newest-wins "$CI_PIPELINE_NUMBER"': fills_target,
    },
    "filters.md": {
        f"{SYNC} --exclude '*' --include 'd1/*'             # only d1": only("d1/a.html", "d1/b.txt"),
        f"{SYNC} --include '*.html' --exclude 'draft/'      # HTML, but no drafts": only("index.html", "d1/a.html", "docs/index.html"),
        f"{SYNC} --exclude '*.log' --include 'keep.log'     # all but logs, and one log": only(
            *sorted(path.removeprefix("site/") for path in TREE if path.startswith("site/") and path != "site/a.log")
        ),
        "git diff --name-only v1..v2 | s3batch sync . s3://my-bucket/www --files-from -": sends_changed_files,
        "find . -newer stamp -print0 | s3batch sync . s3://my-bucket/www --files-from0 -": sends_newer_files,
    },
    "reports.md": {
        "s3batch sync public s3://my-bucket/site --report report.html --report junit.xml": writes("report.html", "junit.xml"),
        "s3batch report --report report.html": writes("report.html"),
        "s3batch sync public s3://my-bucket/site --json-lines": sends_events,
        "s3batch sync public s3://my-bucket/site --on-done 'jq -r .state | mail -s backup me@example.org'": tells_a_command,
        "s3batch sync public s3://my-bucket/site --on-done https://example.org/hook": tells_an_address,
        "s3batch sync public s3://my-bucket/site --ping https://hc-ping.com/3fa85f64": tells_an_address,
    },
    "cache.md": {
        "s3batch cache list s3://my-cache                    # every cache: age, last use, size, chunks shared with others": prints("octo/site"),
        "s3batch cache inspect s3://my-cache octo/site/main  # what one holds, entry by entry": prints("index.js"),
        "s3batch cache clear s3://my-cache                   # what this repository has (in a CI: the one being built)": prints("cache cleared"),
        "s3batch cache prune s3://my-cache --ttl 30d --keep-last 3 --max-total 100GiB": plain,
    },
}  # fmt: skip


def prepare_undo(shell: Shell) -> None:
    shell.run(SYNC)
    shell.bucket["www/old.html"] = shell.bucket["www/index.html"]


def prepare_cache(shell: Shell) -> None:
    shell.run("s3batch cache rebuild s3://my-cache --cache node_modules")


PREPARATIONS: dict[str, Callable[[Shell], None]] = {"undo.md": prepare_undo, "cache.md": prepare_cache}


@pytest.mark.slow
@pytest.mark.parametrize("page", STORIES)
def test_the_command_lines_of_a_page_do_what_it_says(shell: Shell, page: str) -> None:
    assert lines_of(page) == list(STORIES[page]), "every line of the page, and no other"
    shell.environ |= {"CI_PIPELINE_NUMBER": "7"} | (CI if page in {"cli.md", "cache.md"} else {})
    PREPARATIONS.get(page, lambda _: None)(shell)

    for line, act in STORIES[page].items():
        act(shell, line)
