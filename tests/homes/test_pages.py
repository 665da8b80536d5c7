"""Every command line of docs/stores.md and docs/coming-from.md does what it says, against a local store."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import s3batch.settings.table as settings_table
from s3batch.cli import main
from tests.rig.program import ROOT

yaml = pytest.importorskip("yaml")
STORES, COMING = ((ROOT / "docs" / name).read_text() for name in ("stores.md", "coming-from.md"))


def command_lines(page: str) -> list[str]:
    return re.findall(r"^    \$ s3batch (.+)$", page, re.MULTILINE)


@pytest.fixture
def shell(store, keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[[str], str]:
    """Run a command line against the store, whatever endpoint it names; return what it printed."""
    for path, text in {"index.html": "<p>", "app.js": "js", "assets/logo.svg": "<svg/>"}.items():
        (tmp_path / "public" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "public" / path).write_text(text)
    monkeypatch.chdir(tmp_path)
    environ = keys | {
        "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL": store.url, "AWS_REGION": "us-east-1",
    }  # fmt: skip

    def run(line: str) -> str:
        words = shlex.split(re.sub(r"--endpoint-url \S+ --region \S+", f"--endpoint-url {store.url}", line))
        code = main([*words, *(["--executor", "inline"] if "--workers" not in words else [])], environ)
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return run


@pytest.mark.parametrize("line", command_lines(STORES))
def test_the_line_of_a_store_sends_the_files(shell, store, line):
    shell(line)

    assert set(store.objects["my-bucket"]) == {"site/index.html", "site/app.js", "site/assets/logo.svg"}


def test_every_store_has_five_lines():
    stores = re.split(r"^## ", STORES, flags=re.MULTILINE)[1:]

    assert {each.split("\n")[0] for each in stores} == {
        "Cloudflare R2", "Backblaze B2", "Google Cloud Storage", "MinIO", "Ceph", "Wasabi",
        "rclone serve s3",
    }  # fmt: skip
    assert {len(re.findall(r"^- ", each, re.MULTILINE)) for each in stores} == {5}


def test_the_lines_for_users_of_the_aws_cli(shell, store):
    dry, delete, filtered, attributes = (line for line in command_lines(COMING)[:4])
    assert "upload site/index.html missing" in shell(dry)
    assert store.objects["my-bucket"] == {}
    shell(filtered)
    assert set(store.objects["my-bucket"]) == {"site/index.html"}
    shell(attributes)
    assert store.objects["my-bucket"]["site/app.js"].headers["cache-control"] == "max-age=3600"
    Path("public/app.js").unlink()
    shell(delete)
    assert set(store.objects["my-bucket"]) == {"site/index.html", "site/assets/logo.svg"}


def test_the_lines_for_users_of_s5cmd_and_rclone(shell, store):
    up, down, limited, verify = command_lines(COMING)[4:]
    shell(up)
    shell(down)
    assert Path("copy/assets/logo.svg").read_text() == "<svg/>"
    shell(limited)
    shell(verify)
    assert len(store.objects["my-bucket"]) == 3


def test_the_flags_and_settings_that_the_page_names_are_those_of_s3batch():
    known = {name for row in settings_table.TABLE.values() for name in row.names}
    ours = [cell for row in re.findall(r"^\| .* \|$", COMING, re.MULTILINE) for cell in row.split(" | ")[1:]]
    flags = {flag for cell in ours for flag in re.findall(r"`--([a-z-]+)", cell)}

    assert {flag for flag in flags if flag.replace("-", "_") not in known} == set()
    assert {"lookup_only", "fail_on_miss", "cross_os"} <= known


def test_the_example_for_users_of_actions_cache_uses_inputs_that_there_are():
    [block] = re.findall(r"^```yaml\n(.*?)^```$", COMING, re.MULTILINE | re.DOTALL)
    [step] = yaml.safe_load(block)

    assert set(step["with"]) <= set(yaml.safe_load((ROOT / "action.yml").read_text())["inputs"])
