"""The examples of the README do what the text beside them says: the steps, and the command lines in their order."""

from __future__ import annotations

import re
import shutil
from typing import Any

import pytest

from tests.rig import program, yaml
from tests.rig.program import ROOT

README = (ROOT / "README.md").read_text()
STEPS = {
    step["name"]: step["settings"]
    for block in re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for step in yaml.load(block)
}
COMMANDS = re.findall(r"^    \$ s3batch (.+?)(?: +#.*)?$", README, re.MULTILINE)
EVERYBODY = ("http://acs.amazonaws.com/groups/global/AllUsers", "READ")


@pytest.fixture
def step(make_step):
    """moto keeps ACLs."""
    step = make_step("moto")
    step.bucket.client.delete_public_access_block(Bucket=step.bucket.name)
    step.bucket.client.put_bucket_ownership_controls(
        Bucket=step.bucket.name, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    return step


def settings_of(name: str) -> dict[str, Any]:
    """The settings of a step, less those that say where the bucket is and who we are."""
    others = {"bucket", "access_key", "secret_key"}
    return {key: value for key, value in STEPS[name].items() if key not in others}


def test_the_publish_step_sets_what_its_patterns_name(step):
    step.files({"public/index.html": "<p>", "public/assets/app.js": "js", "public/about/team.html": "<p>"})
    step.bucket.put("site/gone", b"")

    found = step.run(settings_of("publish"))

    assert found.code == 0, found.err
    keys = step.bucket.keys()
    assert [key for key in keys if EVERYBODY in step.bucket.grants(key)] == ["site/assets/app.js"]
    assert {key: step.bucket.head(key)["CacheControl"] for key in keys} == {
        "site/index.html": "no-cache",
        "site/about/team.html": "no-cache",
        "site/assets/app.js": "public, max-age=31536000",
    }


def test_the_cache_steps_bring_back_what_was_built(step):
    assert step.run(settings_of("restore-cache")).code == 0  # a miss does not fail the build
    step.files({"vendor/bundle/a.gem": "gem", "node_modules/left-pad/index.js": "js"})
    assert step.run(settings_of("rebuild-cache")).code == 0
    for built in ("vendor", "node_modules"):
        shutil.rmtree(step.workspace / built)

    found = step.run(settings_of("restore-cache"))

    assert found.code == 0, found.err
    assert (step.workspace / "vendor/bundle/a.gem").read_text() == "gem"
    assert (step.workspace / "node_modules/left-pad/index.js").read_text() == "js"


@pytest.mark.slow
def test_the_command_lines_work_in_their_order(bucket, env, tmp_path):
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "docs", checkout / "docs")
    here = {path.relative_to(checkout).as_posix() for path in (checkout / "docs").rglob("*") if path.is_file()}
    dry_run, sync, verify, jobs, resume = [
        [word.replace("s3://demo", bucket.url()) for word in line.split()] for line in COMMANDS
    ]

    def run(line: list[str], **variables: str) -> program.Finished:
        return program.run(line, env | variables, checkout)

    planned = run(dry_run)
    assert (planned.code, bucket.keys()) == (0, set()), planned.stderr
    assert all(name in planned.stdout for name in here)
    assert run(sync, S3BATCH_TEST_CRASH_AT="dispatched:1").code < 0
    listed = run(jobs)
    assert f"{bucket.name}/docs" in listed.stdout, listed.stderr
    resumed = run(resume)
    assert (resumed.code, bucket.keys()) == (0, here), resumed.stderr
    again = run([*sync, "--json"])
    assert (again.code, again.json["unchanged"]) == (0, len(here)), again.stderr
    assert run(verify).code == 0
    (checkout / "docs/cli.md").write_text("changed")
    differs = run(verify)
    assert (differs.code, "cli.md" in differs.stdout) == (1, True), differs.stderr
