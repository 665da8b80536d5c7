"""The Dockerfile, as far as it can be judged without building it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from s3batch.settings.schema import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and arguments of each, comments gone and continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def stages() -> list[list[tuple[str, str]]]:
    """The stages; what stands before the first one is left out."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions(TEXT):
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


BUILD, IMAGE, NONROOT, FINAL = stages()
LOCKS = {name: (ROOT / "requirements" / name).read_text() for name in ("image.txt", "image-build.txt")}


def of(stage: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for each, rest in stage if each == word]


def test_both_stages_are_of_one_python_so_that_wheels_of_the_first_fit_the_second():
    assert of(BUILD, "FROM") == ["${PYTHON} AS build"]
    assert of(IMAGE, "FROM") == ["${PYTHON} AS root"]


def test_that_python_is_one_the_project_supports():
    [minor] = re.findall(r"^ARG PYTHON=python:3\.(\d+)-slim$", TEXT, re.MULTILINE)

    assert int(minor) >= int(PROJECT["project"]["requires-python"].removeprefix(">=3."))
    assert f"py3{minor}" in (ROOT / "tox.ini").read_text()


def test_the_entry_point_is_the_plugin_without_a_shell():
    [entry] = of(IMAGE, "ENTRYPOINT")

    program, command = json.loads(entry)
    assert program in PROJECT["project"]["scripts"]
    assert command in COMMANDS
    assert of(IMAGE, "CMD") == []


def test_the_image_holds_no_compiler_and_downloads_nothing():
    [run] = of(IMAGE, "RUN")

    assert not re.search(r"apt|gcc|g\+\+|build-essential|curl|wget|git\b", run)
    assert run.count("pip install") == run.count("--no-index") == 2
    assert of(IMAGE, "COPY") == of(IMAGE, "ADD") == []


def test_every_pip_leaves_no_cache_behind_and_takes_only_what_is_locked():
    pips = [part for stage in (BUILD, IMAGE) for run in of(stage, "RUN") for part in run.split("&&") if "pip " in part]

    assert len(pips) == 5
    assert all("--no-cache-dir" in pip for pip in pips)
    assert all("--require-hashes" in pip or ("--no-index" in pip and "--no-deps" in pip) for pip in pips)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_one_version_and_its_hashes(lock):
    entries = re.split(r"\n(?=\S)", LOCKS[lock].strip())
    packages = [entry for entry in entries if not entry.startswith("#")]

    assert packages
    assert all(
        re.match(r"[a-z0-9.-]+==[\w.]+( ; [^\\]+)? \\\n    --hash=sha256:[0-9a-f]{64}", entry) for entry in packages
    )


def test_the_lock_holds_all_the_project_needs_in_the_versions_that_are_tested():
    locked = dict(re.findall(r"^([a-z0-9.-]+)==([\w.]+)", LOCKS["image.txt"], re.MULTILINE))
    needed = {re.split(r"[<>=\[]", each)[0].lower() for each in PROJECT["project"]["dependencies"]}
    lines = (ROOT / "requirements" / "constraints.txt").read_text().splitlines()
    tested = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)

    assert needed <= locked.keys()
    assert {name: version for name, version in locked.items() if tested.get(name, version) != version} == {}


def test_the_lock_of_the_build_holds_the_build_system():
    assert all(f"\n{each}==" in LOCKS["image-build.txt"] for each in PROJECT["build-system"]["requires"])


def test_what_is_copied_is_there_and_is_what_the_wheel_is_made_of():
    sources = [source for copy in of(BUILD, "COPY") for source in copy.split()[:-1]]
    ignored = (ROOT / ".dockerignore").read_text().split()

    assert all((ROOT / source).exists() for source in sources)
    assert {f"!{source}" for source in sources} <= set(ignored)
    needed = {
        "pyproject.toml",
        PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"],
        "s3batch",
        "hatch_build.py",
    }
    assert set(sources) == needed | {f"requirements/{name}" for name in LOCKS}


@pytest.mark.parametrize("label", ["title", "description", "licenses", "version", "revision"])
def test_the_image_says_what_it_is(label):
    [labels] = of(IMAGE, "LABEL")

    assert f"org.opencontainers.image.{label}=" in labels


def test_its_labels_are_the_projects_own():
    [labels] = of(IMAGE, "LABEL")
    found = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', labels))

    assert found["title"] == PROJECT["project"]["name"]
    assert found["description"] == PROJECT["project"]["description"]
    assert found["licenses"] == PROJECT["project"]["license"]
    arguments = {argument.partition("=")[0] for argument in of(IMAGE, "ARG")}
    assert {found["version"], found["revision"]} == {f"${{{name}}}" for name in arguments}


def test_nothing_secret_and_nothing_unpinned_is_in_it():
    assert not re.search(r"(?i)secret|password|token|:latest", TEXT)
    assert of(BUILD, "ADD") == []


def test_the_image_runs_as_root_as_the_plugins_do_and_has_a_stage_for_clusters_that_forbid_it():
    [user] = of(NONROOT, "USER")

    assert of(FINAL, "FROM") == ["root"]
    assert of(IMAGE, "USER") == of(FINAL, "USER") == []
    assert of(NONROOT, "FROM") == ["root AS nonroot"]
    assert int(user.partition(":")[0]) > 0


def test_bytecode_holds_no_times():
    [run] = of(IMAGE, "RUN")

    assert run.count("--no-compile") == 2
    assert "compileall -q -j 0 --invalidation-mode unchecked-hash" in run
