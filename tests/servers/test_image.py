"""What the image does, built by scripts/image_without_engine and run as a CI runs the image, with PLUGIN_ variables.

As root, as the image is; and as nobody in particular, in a workspace that is not his, as its stage nonroot is.
"""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3batch.cli.completion import format_completion
from tests.rig.program import ROOT

pytestmark = pytest.mark.slow
NOBODY = 65534
AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that everybody may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="s3batch-image-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def image(place) -> dict[str, Any]:
    """The steps of the Dockerfile carried out; how the image would be run."""
    python = next(filter(anybody_may_run, ("/usr/local/bin/python3", "/usr/bin/python3", sys.executable)), None)
    if python is None:
        pytest.skip("there is no Python that another user may run")
    words = [ROOT / "scripts/image_without_engine", place / "image", "--target", "nonroot", "--python", python]
    built = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=600)
    assert built.returncode == 0, built.stdout + built.stderr
    return json.loads(built.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def wheel(image, place) -> Path:
    [built] = (place / "image/build/wheels").glob("s3batch-*.whl")
    return built


@pytest.fixture(scope="module")
def program(image) -> Path:
    """The entry point, with what the locks name and nothing else."""
    return Path(image["entrypoint"][0])


def anybody_may_run(python: str) -> bool:
    """Whether it is new enough, makes environments, and can be run by who is nobody."""
    code = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    real = os.path.realpath(python)
    tested = subprocess.run([*as_nobody(), real, "-c", code], capture_output=True, check=False)
    reachable = all(Path(folder).stat().st_mode & 0o001 for folder in Path(real).parents)
    return Path(real).exists() and tested.returncode == 0 and (reachable or not AS_ROOT)


def as_nobody() -> list[str]:
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if AS_ROOT else []


@pytest.fixture
def workspace(place) -> Iterator[Path]:
    """As a CI cloned it: somebody else's, to be read only."""
    folder = Path(tempfile.mkdtemp(dir=place))
    (folder / "public/sub").mkdir(parents=True)
    (folder / "public/index.html").write_text("<h1>hello</h1>")
    (folder / "public/sub/a b.txt").write_text("some text")
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


@pytest.fixture
def plugin(program, server, bucket, place) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the entry point with these settings and nothing else."""

    def run(folder: Path, home: str = "", *, root: bool = False, **settings: str) -> subprocess.CompletedProcess[str]:
        keys = {"endpoint": server.url, "access_key": server.access_key, "secret_key": server.secret_key}
        given = {"bucket": bucket.name, **keys, **settings}
        temporary = Path(tempfile.mkdtemp(dir=place))
        temporary.chmod(0o777)
        environment = {f"PLUGIN_{name.upper()}": text for name, text in given.items()} | {"TMPDIR": str(temporary)}
        environment |= {"HOME": home} if home else {}
        return subprocess.run(
            [*([] if root else as_nobody()), program, "plugin"],
            env=environment, cwd=folder, text=True, capture_output=True, check=False, timeout=120,
        )  # fmt: skip

    return run


def test_the_wheel_holds_every_module_and_no_test(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if not re.match(r"[^/]+\.(dist-info|data)/", name)}
    kinds = ("*.py", "*.html", "*.css", "py.typed")
    files = {str(path.relative_to(ROOT)) for kind in kinds for path in (ROOT / "s3batch").rglob(kind)}

    assert held == files | {"s3batch/_version.py"}


def test_the_wheel_holds_the_man_page_and_the_completion_scripts(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shared = {name.partition(".data/data/")[2]: name for name in archive.namelist() if ".data/data/" in name}
        page = archive.read(shared["share/man/man1/s3batch.1"]).decode()
        script = archive.read(shared["share/bash-completion/completions/s3batch"]).decode()

    assert set(shared) == {
        "share/man/man1/s3batch.1", "share/bash-completion/completions/s3batch", "share/zsh/site-functions/_s3batch",
        "share/fish/vendor_completions.d/s3batch.fish",
    }  # fmt: skip
    assert page.startswith(f'.TH S3BATCH 1 "" "s3batch {wheel.name.split("-")[1]}"')
    assert script == format_completion(["bash"])


def test_an_index_takes_the_metadata_of_the_wheel(wheel):
    """As twine's check: the description is there, its type is known, and every mandatory field is set once."""
    with zipfile.ZipFile(wheel) as archive:
        folder = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).partition("/")[0]
        metadata = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        entry_points = archive.read(f"{folder}/entry_points.txt").decode()
        licenses = [name for name in archive.namelist() if name.startswith(f"{folder}/licenses/")]
        record = archive.read(f"{folder}/RECORD").decode()

    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        "s3batch", wheel.name.split("-")[1], "MIT",
    )  # fmt: skip
    assert metadata["Requires-Python"] == ">=3.11"
    assert len(metadata.get_all("Project-URL")) == 4
    assert entry_points == "[console_scripts]\ns3batch = s3batch.__main__:program\n"
    assert licenses == [f"{folder}/licenses/LICENSE"]
    assert all(",sha256=" in line or line.startswith(f"{folder}/RECORD,") for line in record.splitlines())


def test_the_source_distribution_makes_the_same_wheel(place, wheel, tmp_path):
    tools = place / "image/build/venv/bin/python"
    environment = os.environ | {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.2.3", "PYTHONPATH": ""}
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis", "_version.py", ".s3batch"
    )
    shutil.copytree(ROOT, tmp_path / "checkout", ignore=ignored)

    def build(target: str, folder: Path) -> None:
        words = [tools, "-m", "hatchling", "build", "-t", target, "-d", tmp_path / "dist"]
        subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True)

    build("sdist", tmp_path / "checkout")
    with tarfile.open(tmp_path / "dist/s3batch-1.2.3.tar.gz") as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    subprocess.run(["tar", "-xzf", "dist/s3batch-1.2.3.tar.gz"], cwd=tmp_path, check=True)
    build("wheel", tmp_path / "s3batch-1.2.3")

    assert {
        "PKG-INFO",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "Dockerfile",
        "tox.ini",
        "action.yml",
        "sync/action.yml",
        "packaging/github/save.js",
    } <= held
    assert not [name for name in held if re.search(r"(^|/)(\.venv|__pycache__|\.git/|dist/)", name)]
    names = zipfile.ZipFile(tmp_path / "dist/s3batch-1.2.3-py3-none-any.whl").namelist()
    version = wheel.name.split("-")[1]
    assert sorted(names) == sorted(name.replace(version, "1.2.3", 1) for name in zipfile.ZipFile(wheel).namelist())


def test_the_image_runs_as_root_and_nonroot_as_somebody_without_a_name(image):
    assert image["user"] == "65532:65532"
    assert image["entrypoint"][1:] == ["plugin"]
    assert image["environment"].keys() >= {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


def test_only_what_is_locked_is_in_it(program):
    listed = subprocess.run(
        [program.parent / "python", "-m", "pip", "freeze", "--all"], capture_output=True, text=True, check=True
    )
    installed = {line.split("==")[0].lower().replace("_", "-") for line in listed.stdout.split() if "==" in line}
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements/image.txt").read_text(), re.MULTILINE))

    assert installed - {"setuptools", "wheel"} <= locked  # the two come with some environments


def build_wheel(wheel: Path, source: Path) -> Path:
    """Make the wheel of ``source`` with the locked tools that made ``wheel``."""
    folder = source / "dist"
    python = wheel.parents[1] / "venv/bin/python"
    words = ["-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, source]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1577836800"}
    subprocess.run([python, *words], check=True, env=environment, timeout=120, capture_output=True)
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def source(tmp_path) -> Path:
    """The files that the image is built from, without git."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "s3batch", tmp_path / "s3batch", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_same_source_makes_the_same_wheel(wheel, source):
    built = build_wheel(wheel, source)

    assert (built.name, built.read_bytes()) == (wheel.name, wheel.read_bytes())


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git program to make a tag with")
def test_the_version_comes_from_the_tag(wheel, source):
    def git(*words: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *identity, *words], cwd=source, check=True, capture_output=True)

    (source / ".gitignore").write_text("dist\ns3batch/_version.py\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    assert build_wheel(wheel, source).name.startswith("s3batch-0.1.0.dev1+g")
    git("tag", "v1.2.3")
    assert build_wheel(wheel, source).name == "s3batch-1.2.3-py3-none-any.whl"
    git("commit", "--allow-empty", "-m", "two")
    assert build_wheel(wheel, source).name.startswith("s3batch-1.3.0.dev1+g")


def test_bytecode_is_there_and_is_never_looked_up_again(program):
    [compiled] = program.parents[1].rglob("s3batch/settings/__pycache__/table.*.pyc")

    assert compiled.read_bytes()[4:8] == b"\x01\0\0\0"  # a hash, not to be checked


@pytest.mark.skipif(not AS_ROOT, reason="only root can be root")
def test_a_restore_as_root_writes_a_workspace_that_a_ci_cloned(plugin, workspace):
    workspace.chmod(0o755)
    cached = {"cache": "public", "cache_key": "k"}
    assert plugin(workspace, root=True, rebuild="true", **cached).returncode == 0
    shutil.rmtree(workspace / "public")

    finished = plugin(workspace, root=True, restore="true", **cached)

    assert (finished.returncode, "warning" in finished.stderr) == (0, False), finished.stderr
    assert (workspace / "public/index.html").read_text() == "<h1>hello</h1>"


def test_the_entry_point_runs_where_nothing_else_is_installed(program):
    ran = subprocess.run([*as_nobody(), program, "--version"], env={}, text=True, capture_output=True, check=True)

    assert re.fullmatch(r"s3batch \d+\.\d+\.\d+(\.dev\d+)?\n", ran.stdout)


@pytest.mark.parametrize("home", ["/nonexistent", "/root", "/", ""], ids=["none", "root's", "the root", "unset"])
def test_a_sync_works_for_who_owns_neither_workspace_nor_home(plugin, workspace, bucket, home):
    finished = plugin(workspace, source="public", target="/site", delete="true", home=home)

    assert finished.returncode == 0, finished.stderr
    assert bucket.contents() == {"site/index.html": b"<h1>hello</h1>", "site/sub/a b.txt": b"some text"}
    assert sorted(os.listdir(workspace)) == ["public"]
    assert "the workspace cannot be written, so the journal is in" in finished.stderr


def test_who_owns_the_workspace_finds_the_journal_there(plugin, workspace, bucket):
    if AS_ROOT:
        os.chown(workspace, NOBODY, NOBODY)
    workspace.chmod(0o755)

    finished = plugin(workspace, source="public")

    assert finished.returncode == 0, finished.stderr
    assert "warning" not in finished.stderr
    assert [name for name in os.listdir(workspace / ".s3batch") if name.endswith(".db")]
    assert bucket.keys() == {"index.html", "sub/a b.txt"}


def test_a_wrong_setting_is_told_in_one_sentence(plugin, workspace):
    finished = plugin(workspace, source="public", delete="perhaps")

    assert finished.returncode == 2
    assert "delete cannot be 'perhaps' (from PLUGIN_DELETE); write true or false" in finished.stderr
