"""The examples of docs/python.md, run one after the other in one program, do what the text beside them says."""

from __future__ import annotations

import re
from typing import Any

import pytest

import s3batch
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3
from tests.rig.program import ROOT

PAGE = (ROOT / "docs/python.md").read_text()
EXAMPLES = {
    title: "".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    for title, text in re.findall(r"^##? ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """``run(title, **names)``: what the example below this heading leaves and prints; ``run.store`` is the store."""
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "index.html").write_text("<p>")
    (tmp_path / "public" / "app.map").write_text("map")
    monkeypatch.chdir(tmp_path)
    with FakeS3() as store:
        given = {
            "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "AWS_ENDPOINT_URL": store.url, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "S3BATCH_EXECUTOR": "inline",
        }  # fmt: skip
        for name, value in given.items():
            monkeypatch.setenv(name, value)

        def execute(title: str, **names: Any) -> tuple[dict[str, Any], str]:
            namespace = {"s3batch": s3batch, **names}
            exec(compile(EXAMPLES[title], title, "exec"), namespace)
            return namespace, capsys.readouterr().out

        execute.store = store
        yield execute


def test_the_first_example_makes_the_target_match(run):
    run.store.objects["my-bucket"] = {}
    namespace, printed = run("Python")

    assert printed == "done 2\n"
    assert set(run.store.objects["my-bucket"]) == {"site/index.html", "site/app.map"}
    assert namespace["report"].ok


def test_settings_are_keywords(run):
    run("Settings")

    [(key, stored)] = run.store.objects["my-bucket"].items()
    assert (key, stored.headers["cache-control"]) == ("site/index.html", "no-cache")


def test_a_verify_prints_the_differences(run):
    assert run("Report")[1] == "missing site/app.map\nmissing site/index.html\n"


def test_an_error_has_its_exit_code(run):
    assert run("Errors")[1].startswith("2 retries cannot be 'many' (from argument retries) ")


def test_events_are_printed_as_they_happen(run):
    assert run("Events")[1].splitlines()[-1] == "done"


def test_a_run_that_is_not_cancelled_ends_well(run):
    assert run("Cancel and resume")[0]["report"].state == "done"


def test_a_journal_is_read(run):
    report = s3batch.sync("public", "s3://my-bucket/site")

    namespace, printed = run("Journal", report=report)

    assert printed.startswith(f"{report.job} sync done ")
    assert namespace["done"] == 2


def test_a_cache_is_rebuilt_after_a_miss(run, tmp_path):
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "a.js").write_text("js")

    assert [run("Caches")[0]["hit"].cache["hit"] for _ in range(2)] == [False, True]


def test_every_example_has_a_test():
    assert {title for title, code in EXAMPLES.items() if code} == {
        "Python", "Settings", "Report", "Errors", "Events", "Cancel and resume", "Journal", "Caches",
    }  # fmt: skip
