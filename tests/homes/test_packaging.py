"""The files below packaging/ and templates/, each run with the variables and files of its system."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from s3batch.settings.table import TABLE
from tests.rig.fake_s3 import FakeS3
from tests.rig.program import ROOT

yaml = pytest.importorskip("yaml")
GITLAB = {
    "GITLAB_CI": "true", "CI": "true", "CI_PROJECT_PATH": "group/site", "CI_PROJECT_ID": "1", "CI_COMMIT_BRANCH": "main",
    "CI_COMMIT_REF_NAME": "main", "CI_DEFAULT_BRANCH": "main", "CI_PIPELINE_SOURCE": "push", "CI_JOB_STATUS": "success",
}  # fmt: skip


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work" / "dist").mkdir(parents=True)
    (tmp_path / "work" / "dist" / "index.html").write_text("<p>")
    return tmp_path / "work"


@pytest.fixture
def environ(runner, keys, store) -> dict[str, str]:
    return runner | keys | {"AWS_ENDPOINT_URL": store.url, "AWS_REGION": "us-east-1"}


def run_shell(script: list[str], work: Path, environ: dict[str, str]) -> str:
    ran = subprocess.run(
        ["bash", "-euc", "\n".join(script)],
        cwd=work,
        env=environ,
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


# --- GitLab -----------------------------------------------------------------------------------


def component(**inputs: str) -> dict:
    """Return the jobs of the component with these inputs, as GitLab interpolates them."""
    head, body = (ROOT / "templates/s3batch.yml").read_text().split("\n---\n")
    known = yaml.safe_load(head)["spec"]["inputs"]
    given = {name: row["default"] for name, row in known.items()}
    assert {name.replace("_", "-") for name in inputs} <= set(known)
    given |= {name.replace("_", "-"): value for name, value in inputs.items()}
    return yaml.safe_load(re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda found: given[found[1]], body))


def test_the_component_syncs(work, environ, store: FakeS3):
    (work / "dist" / "my file").write_text("f")
    jobs = component(source="dist", target="s3://site/www", flags="--delete --cache-control 'no-cache, private'")

    said = run_shell(jobs["s3batch-sync"]["script"], work, environ | GITLAB)

    assert set(store.objects["site"]) == {"www/index.html", "www/my file"}, said
    assert store.objects["site"]["www/index.html"].headers["cache-control"] == "no-cache, private"
    assert jobs["s3batch-sync"]["image"]["entrypoint"] == [""]


def test_the_component_caches_around_a_job(work, environ, store: FakeS3):
    job = component(cache_bucket="caches", cache_paths="node_modules,vendor", cache_key="deps-1")[".s3batch-cache"]
    variables = environ | GITLAB | job["variables"]
    run_shell([*job["before_script"], "mkdir -p node_modules vendor; echo a > node_modules/a"], work, variables)
    run_shell(job["after_script"], work, variables)
    shutil.rmtree(work / "node_modules")

    run_shell(job["before_script"], work, variables)

    assert (work / "node_modules" / "a").read_text() == "a\n"
    assert any("group/site" in key for key in store.objects["caches"])
    stored = set(store.objects["caches"])
    (work / "node_modules" / "a").write_text("changed by a failed job")
    run_shell(job["after_script"], work, variables | {"CI_JOB_STATUS": "failed"})
    assert set(store.objects["caches"]) == stored


def test_the_component_installs_the_release():
    release = (ROOT / "CHANGELOG.md").read_text().split("\n## ", 2)[1].split()[0]

    assert f'"s3batch=={release}"' in component()[".s3batch-cache"]["before_script"][0]


# --- systemd ----------------------------------------------------------------------------------


def read_unit(name: str) -> dict[str, list[str]]:
    rows = re.findall(r"^(\w+)=(.*)$", (ROOT / "packaging/systemd" / name).read_text(), re.MULTILINE)
    return {key: [value for other, value in rows if other == key] for key, _ in rows}


def test_the_service_runs_what_its_file_says(work, environ, store: FakeS3, tmp_path):
    unit = read_unit("s3batch@.service")
    variables = dict(word.split("=", 1) for word in unit["Environment"][0].replace("%S", str(tmp_path)).split())
    variables |= {"SOURCE": str(work / "dist"), "TARGET": "s3://site/www", "S3BATCH_CACHE_CONTROL": "no-cache"}
    words = [
        re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], word) for word in shlex.split(unit["ExecStart"][0])
    ]

    subprocess.run(words, env=environ | variables, cwd="/", check=True, capture_output=True)

    assert store.objects["site"]["www/index.html"].headers["cache-control"] == "no-cache"
    assert list((tmp_path / "s3batch").glob("*.db"))
    assert read_unit("s3batch@.timer")["Persistent"] == ["true"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
def test_systemd_takes_the_units():
    units = [ROOT / "packaging/systemd" / name for name in ("s3batch@.service", "s3batch@.timer")]

    ran = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)

    assert (ran.returncode, [line for line in ran.stderr.splitlines() if "s3batch@" in line]) == (0, [])


# --- Kubernetes -------------------------------------------------------------------------------


def test_the_cron_job_runs_its_command_with_its_volumes(work, environ, store: FakeS3, tmp_path):
    pod = yaml.safe_load((ROOT / "packaging/kubernetes/cronjob.yaml").read_text())["spec"]["jobTemplate"]["spec"][
        "template"
    ]
    [container] = pod["spec"]["containers"]
    mounts = {"/data": work / "dist", "/state": tmp_path / "volume", "/tmp": tmp_path / "scratch"}
    for path in mounts.values():
        path.mkdir(exist_ok=True)

    def moved(text: str) -> str:
        return str(mounts.get(text, text))

    variables = {row["name"]: moved(row["value"]) for row in container["env"]}
    words = [*container["command"], *map(moved, container["args"])]
    subprocess.run(words, env=environ | variables, cwd="/", check=True, capture_output=True)

    assert set(store.objects["my-bucket"]) == {"data/index.html"}
    assert list((tmp_path / "volume").rglob("*.db"))
    assert {row["mountPath"] for row in container["volumeMounts"]} == set(mounts)
    assert {row["name"] for row in container["volumeMounts"]} == {row["name"] for row in pod["spec"]["volumes"]}
    [user] = re.findall(r"^USER (\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert pod["spec"]["securityContext"]["runAsUser"] == int(user)


# --- cron -------------------------------------------------------------------------------------


def test_the_line_of_the_crontab_syncs_and_prints_nothing(work, environ, store: FakeS3):
    [line] = re.findall(r"^    30 2 \* \* \* (.*)$", (ROOT / "packaging/cron.md").read_text(), re.MULTILINE)

    said = run_shell([line.replace("/srv/site", str(work / "dist"))], work, environ)

    assert (said, set(store.objects["my-bucket"])) == ("", {"site/index.html"})


# --- Woodpecker and Drone ---------------------------------------------------------------------

PAGE = (ROOT / "packaging/woodpecker.md").read_text()
STEPS = [
    step
    for block in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for step in yaml.safe_load(block)
]


def plugin(step: dict, work: Path, environ: dict[str, str], keys: dict[str, str]) -> None:
    """Run a step as Woodpecker runs the image."""
    secrets = {name.lower(): value for name, value in keys.items()}
    given = {
        name: secrets[each["from_secret"]] if isinstance(each, dict) else each
        for name, each in step["settings"].items()
    }
    text = {
        name: each if isinstance(each, str) else ",".join(each) if isinstance(each, list) else json.dumps(each)
        for name, each in given.items()
    }
    ci = {
        "CI": "woodpecker",
        "CI_REPO": "octo/site",
        "CI_REPO_OWNER": "octo",
        "CI_REPO_NAME": "site",
        "CI_COMMIT_BRANCH": "main",
        "CI_REPO_DEFAULT_BRANCH": "main",
    }
    variables = {
        name: value
        for name, value in environ.items()
        if not name.startswith("AWS_ACC") and not name.startswith("AWS_SEC")
    }
    variables |= ci | {f"PLUGIN_{name.upper()}": value for name, value in text.items()}
    ran = subprocess.run(["s3batch", "plugin"], cwd=work, env=variables, text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_steps_of_the_plugins_page_sync_and_cache(work, environ, keys, store: FakeS3):
    publish, restore, rebuild = STEPS
    plugin(publish, work, environ, keys)
    assert set(store.objects["my-bucket"]) == {"site/index.html"}
    (work / "node_modules").mkdir()
    (work / "node_modules" / "a.js").write_text("js")
    plugin(rebuild, work, environ, keys)
    shutil.rmtree(work / "node_modules")

    plugin(restore, work, environ, keys)

    assert (work / "node_modules" / "a.js").read_text() == "js"


def test_the_plugins_page_names_settings_that_there_are():
    front = yaml.safe_load(PAGE.split("---\n")[1])
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE)))

    assert set(front) == {"name", "description", "author", "tags", "containerImage", "containerImageUrl", "url"}
    assert set(named) <= {name for row in TABLE.values() for name in row.names}


def test_the_links_of_the_pages_lead_somewhere():
    for page in (ROOT / "packaging").glob("*.md"):
        links = re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text())
        assert [link for link in links if not os.path.exists(page.parent / link)] == []


def test_the_examples_of_the_overview_use_inputs_that_there_are():
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "packaging/README.md").read_text(), re.MULTILINE | re.DOTALL)
    cache, _, sync = yaml.safe_load(blocks[0])
    inputs = yaml.safe_load(blocks[1])["include"][0]["inputs"]

    assert set(cache["with"]) <= set(yaml.safe_load((ROOT / "action.yml").read_text())["inputs"])
    assert set(sync["with"]) <= set(yaml.safe_load((ROOT / "sync/action.yml").read_text())["inputs"])
    assert component(**{name.replace("-", "_"): value for name, value in inputs.items()})
