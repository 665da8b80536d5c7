"""What the documents say, held against the program: settings, commands, exit codes, and every example for a CI."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from s3batch.base import errors
from s3batch.cli import loading
from s3batch.cli import main as program
from s3batch.commands.doctor.findings import RequestOutcome
from s3batch.objects.attributes import AttributeRules
from s3batch.objects.redirects import parse_redirects
from s3batch.objects.target import Target
from s3batch.plan.delete_limit import DeleteLimit
from s3batch.settings.schema import COMMANDS
from s3batch.settings.table import TABLE, Settings
from s3batch.source.filters import Selection
from tests.plugins import ci
from tests.rig import yaml

ROOT = Path(__file__).resolve().parents[2]
CLI = (ROOT / "docs" / "cli.md").read_text()
DRONE = (ROOT / "docs" / "drone.md").read_text()
NAMES = ("cache.md", "ci.md", "cli.md", "design.md", "drone.md", "performance.md", "plugins.md", "settings.md")
PAGES = {page: (ROOT / "docs" / page).read_text() for page in NAMES}
IMAGE = "s3batch/s3batch"
SECRET = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "a-secret", "s3batch_cache_secret": "another"}


# --- the page of the command line ---------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_documented(command):
    assert f"`s3batch {command}" in CLI


def exit_codes() -> dict[str, int]:
    return {name: value for name, value in vars(errors).items() if name.startswith("EXIT_")}


@pytest.mark.parametrize(("name", "code"), exit_codes().items())
def test_each_exit_code_is_documented(name, code):
    assert re.search(rf"^\| (?:\d+, )*{code}(?:, \d+)* \|", CLI, re.MULTILINE), name


def test_no_other_exit_code_is_documented():
    table = CLI.partition("## Exit codes")[2].partition("\n## ")[0]
    documented = {int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in cell.split(",")}

    assert documented == set(exit_codes().values())


@pytest.mark.parametrize("page", PAGES)
def test_a_flag_that_a_page_names_is_one(page):
    flags = {row.flag for row in TABLE.values()} | {f"--no-{row.flag[2:]}" for row in TABLE.values()}
    aliases = {f"--{name.replace('_', '-')}" for row in TABLE.values() for name in row.names}
    others = {
        "--help",
        "--version",
        "--config",
        "--foo",
        "--no-foo",
        "--user",
        "--entrypoint",
        "--rm",
        "--long",
        "--size-only",
    }

    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGES[page]))

    assert named - flags - aliases - others == set()


@pytest.mark.parametrize("page", PAGES)
def test_a_link_of_a_page_leads_somewhere(page):
    for link in re.findall(r"\]\((?!http)([^)]+)\)", PAGES[page]):
        path, _, anchor = link.partition("#")
        target = ROOT / "docs" / path if path else ROOT / "docs" / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES)
def test_a_link_to_a_module_shows_its_name(page):
    links = re.findall(r"\[`([\w/]+\.py)`\]\(([^)]+\.py)\)", PAGES[page])

    assert [link for link in links if Path(link[0]).name != Path(link[1]).name] == []


def test_tox_runs_test_files_that_exist():
    named = re.findall(r"tests/[\w/]+\.py", (ROOT / "tox.ini").read_text())

    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_a_check_of_the_doctor_may_come_to_is_documented():
    assert [outcome.value for outcome in RequestOutcome if f"`{outcome.value}`" not in CLI] == []


@pytest.mark.parametrize("what", ["missing", "different", "extra"])
def test_what_verify_may_find_is_documented(what):
    assert f"| `{what}` |" in CLI


def shown_command_lines() -> list[str]:
    """The command lines that need no shell and call nobody. tests/homes runs those of stores.md and coming-from.md."""
    others = {"stores.md", "coming-from.md"}
    pages = [path.read_text() for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in others]
    lines = re.findall(r"^    \$ (s3batch [^|<>\n]+?)(?:  +#.*)?$", "\n".join(pages), re.MULTILINE)
    return [line for line in dict.fromkeys(lines) if "--on-done" not in line and "--ping" not in line]


@pytest.mark.parametrize("line", shown_command_lines())
def test_a_command_line_that_is_shown_is_understood(line, tmp_path, monkeypatch):
    """Up to the first request, which an address where nobody is refuses."""
    monkeypatch.chdir(tmp_path)
    for name in ("site", "public"):
        (tmp_path / name).mkdir()
    (tmp_path / "report.pdf").write_text("%PDF")
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    state = {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "S3BATCH_RETRIES": "1",
    }
    out, err = io.StringIO(), io.StringIO()

    words = [re.sub(r"^\$[A-Z_]+$", "7", word) for word in shlex.split(line)]
    code = program(words[1:], {**keys, **state}, out, err)

    assert code != errors.EXIT_BUG, err.getvalue()
    nothing_there = ("there is no job", "cannot be read: No such file")
    assert code != errors.EXIT_SETTINGS or any(words in err.getvalue() for words in nothing_there), err.getvalue()


# --- the examples for a CI ----------------------------------------------------------------------


class Example(NamedTuple):
    """A step of a fenced block in docs/drone.md, in one CI."""

    heading: str
    system: str
    """``drone``, ``woodpecker`` or ``harness``."""
    name: str
    settings: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.heading}: {self.name}, {self.system}"


def examples() -> Iterator[Example]:
    """Yield the steps. A block of bare settings stands for a step with them and those of its section's first step."""
    heading, first_step = "", {}
    for line, block in re.findall(r"^(#+ [^\n]+)$|^```yaml\n(.*?)^```$", DRONE, re.MULTILINE | re.DOTALL):
        if line:
            heading = line.lstrip("# ")
            first_step = {} if line in {"## Syncing", "## The cache"} else first_step
            continue
        document = yaml.load(re.sub(r"\A#.*\n", "", block))
        found = list(steps(document))
        if isinstance(document, dict) and "settings" in document:
            found = [{"name": heading, "settings": {**first_step, **document["settings"]}}]
        for step in found:
            first_step = first_step or step["settings"]
            for system in systems_of(block):
                yield Example(heading, system, step["name"], step["settings"])


def systems_of(block: str) -> list[str]:
    """Return the CIs of a block: the one that the comment of a whole pipeline names, else all."""
    named = re.match(r"# (Drone|Woodpecker|Harness), (?:a whole|the execution)", block)
    return [named[1].lower()] if named else list(ci.SYSTEMS)


def steps(document: Any) -> Iterator[dict[str, Any]]:
    """Every step with our image and settings, however deep it stands."""
    for each in document if isinstance(document, list) else document.values() if isinstance(document, dict) else []:
        yield from steps(each)
    if isinstance(document, dict) and document.get("type") == "Plugin":
        yield from steps({"step": {"name": document["name"], **document["spec"]}})
    elif (
        isinstance(document, dict) and document.get("image") == IMAGE and "settings" in document and "name" in document
    ):
        yield document


def settings_of(example: Example) -> Settings:
    """As the image gets them of that CI."""
    given = {name: without_secrets(value) for name, value in example.settings.items()}
    settings = loading.plugin_settings(ci.SYSTEMS[example.system](given))
    assert settings is not None
    return settings


def without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping) and "from_secret" in value:
        return SECRET[value["from_secret"]]
    found = re.fullmatch(r'<\+secrets\.getValue\("(\w+)"\)>', value) if isinstance(value, str) else None
    return SECRET[found[1]] if found else value


EXAMPLES = list(examples())


def test_the_page_has_examples_for_each_ci():
    assert {example.system for example in EXAMPLES} == {"drone", "woodpecker", "harness"}
    assert len({example.heading for example in EXAMPLES}) > 15


@pytest.fixture(autouse=True)
def _in_a_workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_maps_to_settings_without_a_complaint(example):
    settings = settings_of(example)

    loading.require_needed_settings(settings)
    if settings.command == "sync":
        Target.from_settings(settings)
        AttributeRules.from_settings(settings, "/workspace")
        Selection.from_settings(settings)
        DeleteLimit.from_settings(settings)
        parse_redirects(settings)


@pytest.mark.parametrize("heading", sorted({example.heading for example in EXAMPLES} - {"A large sync by cron"}))
def test_an_example_means_the_same_in_the_three_cis(heading):
    meant: dict[str, dict[str, dict[str, Any]]] = {}
    for example in EXAMPLES:
        if example.heading == heading:
            values = {**settings_of(example).public(), "build": None}
            read = {name: as_read(value) for name, value in values.items()}
            meant.setdefault(example.name, {})[example.system] = read

    for name, forms in meant.items():
        assert set(forms) == {"drone", "woodpecker", "harness"}, name
        assert forms["drone"] == forms["woodpecker"] == forms["harness"], name


def as_read(value: Any) -> Any:
    """A map, however its CI wrote it."""
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


EXPECTED = {
    "Simple": {"command": "sync", "bucket": "my-bucket", "source": "folder/to/archive", "target": "/target/location"},
    "Delete what is gone": {"delete": True, "max_delete": "20%"},
    "Invalidate CloudFront": {"cloudfront_distribution": "9c5785d3ece6a9cdefa4"},
    "ACL, content type, encoding and cache control": {
        "acl": '{"private/*":"private","public/*":"public-read"}',
        "content_type": '{".svg":"image/svg+xml"}',
        "cache_control": "public, max-age=31536000",
    },
    "Metadata for all objects": {"metadata": '{"custom-meta":"abc123"}'},
    "Metadata by pattern": {"metadata": '{"*.png":{"CustomMeta":"abc123"}}'},
    "Redirects": {"redirects": '{"some/missing/file":"/somewhere/that/actually/exists"}'},
    "Keys and roles": {"assume_role": "arn:aws:iam::123456789012:role/publish", "access_key": "AKIAEXAMPLE"},
    "Dry run": {"dry_run": True},
    "When a step fails: resume": {"command": "resume", "bucket": "my-bucket", "source": "folder/to/archive"},
    "A large sync by cron": {"journal": "/data/s3batch/files.db", "bandwidth": 100 << 20, "workers": 4},
    "A key by lock file": {
        "command": "cache restore", "restore_keys": ("node-",), "cache": ("node_modules", ".npm"),
        "cache_key": ('node-{{ checksum "package-lock.json" }}',),
    },
    "Without the cache, and anew": {"command": "cache clear"},
    "Pull requests": {"read_only": True, "cache_secret": "another"},
}  # fmt: skip


@pytest.mark.parametrize(("heading", "values"), EXPECTED.items())
def test_an_example_means_what_its_heading_says(heading, values):
    settings = settings_of(next(example for example in EXAMPLES if example.heading == heading))

    assert {name: getattr(settings, name) for name in values} == values


@pytest.mark.parametrize(
    "name", re.findall(r"`([a-z_]+)`", PAGES["plugins.md"].partition("settings are new:")[2].partition("##")[0])
)
def test_a_setting_the_page_names_as_new_is_one(name):
    assert name in TABLE
