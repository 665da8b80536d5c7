"""Cache five trees that people cache, restore them into an empty workspace, and use them. ``tox -e trees`` runs it.

npm, pip, pnpm with its links, cargo's home and target, and a git clone: made by the real tools from their
registries, stored by the real program on a real server. A tree is right if it is the same in every respect and its
programs run. Tools that are missing are named; ``python -m scripts.real_trees npm pip`` runs only some.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.archive.cycle import snapshot
from tests.rig import buckets, program, servers


@dataclass(frozen=True)
class Tree:
    """What is cached, how it is made and how it is used. Commands run by ``sh -e`` in the workspace."""

    paths: tuple[str, ...]
    tool: str
    make: str
    use: str


TREES = {
    "npm": Tree(
        ("node_modules",), "npm",
        "echo '{}' > package.json; npm install --silent --no-audit --no-fund --ignore-scripts typescript@5.4 eslint@8 webpack@5",
        "node_modules/.bin/tsc --version; node_modules/.bin/eslint --version; npm ls --silent > listed;"
        "node -e \"require('webpack')({entry: './package.json'})\"",
    ),
    "pip": Tree(
        (".venv",), sys.executable,
        f"{sys.executable} -m venv .venv; .venv/bin/pip install --quiet --disable-pip-version-check numpy django botocore",
        ".venv/bin/python -c 'import numpy, django, botocore.session; print(numpy.arange(9).sum())';"
        ".venv/bin/django-admin --version; .venv/bin/pip check",
    ),
    "pnpm": Tree(
        ("node_modules", ".store"), "npm",
        "npm install --silent --no-audit --no-fund --prefix tool pnpm@9; echo '{}' > package.json;"
        "tool/node_modules/.bin/pnpm add --silent --store-dir .store --ignore-scripts typescript@5.4 webpack@5",
        "node_modules/.bin/tsc --version; node -e \"require('webpack')({entry: './package.json'})\";"
        "npm install --silent --no-audit --no-fund --prefix tool pnpm@9;"
        "tool/node_modules/.bin/pnpm install --offline --frozen-lockfile --silent --store-dir .store --ignore-scripts",
    ),
    "cargo": Tree(
        (".cargo", "app/target"), "cargo",
        "export CARGO_HOME=$PWD/.cargo; for n in $(seq 20); do cargo new --quiet --vcs none --lib crates/l$n; done;"
        "cargo new --quiet --vcs none app; cd app;"
        "for n in $(seq 20); do echo \"l$n = { path = '../crates/l$n' }\" >> Cargo.toml; done; cargo build --offline --quiet;"
        "touch ../.cargo/stamp",
        "export CARGO_HOME=$PWD/.cargo; cd app; cargo build --offline 2> built; ! grep -q Compiling built; target/debug/app",
    ),
    "git": Tree(
        ("clone",), "git",
        "git init --quiet origin; cd origin; git config user.email a@example.com; git config user.name A;"
        "for n in $(seq 40); do mkdir -p d$n; seq $n 2000 > d$n/f; git add .; git commit --quiet -m $n; done;"
        "git tag v1; cd ..; git clone --quiet origin clone; rm -rf origin",
        'cd clone; git fsck --strict --no-progress; git log --oneline | wc -l; test -z "$(git status --porcelain)";'
        "git checkout --quiet v1",
    ),
}  # fmt: skip


def main(names: list[str]) -> int:
    """Try each tree; return the exit code."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="s3batch-trees-") as scratch, servers.running("rclone", Path(scratch) / "s3") as server:  # fmt: skip
        bucket = buckets.client(server)
        bucket.create_bucket(Bucket="trees")
        keys = {
            "AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_ENDPOINT_URL": server.url, "AWS_REGION": "us-east-1",
        }  # fmt: skip
        for name in names or TREES:
            if shutil.which(TREES[name].tool) is None:
                print(f"{name}: {TREES[name].tool} is not there", flush=True)
                continue
            began = time.monotonic()
            workspace = Path(scratch) / name
            workspace.mkdir()
            wrong = tried(name, TREES[name], workspace, program.clean_environment(workspace.parent) | keys)
            print(f"{name}: {wrong or 'right'} ({time.monotonic() - began:.0f} s)", flush=True)
            failed += [name] if wrong else []
    return 1 if failed else 0


def tried(name: str, tree: Tree, workspace: Path, environment: dict[str, str]) -> str:
    """Make, cache, remove, restore and use one tree; return what is wrong with it."""
    shell = {**os.environ, "npm_config_cache": str(workspace / ".npm"), "PIP_NO_CACHE_DIR": "1"}
    shell_of: Callable[[str], str] = lambda script: _run(["sh", "-e", "-c", script], shell, workspace)  # noqa: E731
    if wrong := shell_of(tree.make) or shell_of(tree.use):
        return f"it cannot be made: {wrong}"
    before = _snapshot(workspace, tree)
    flags = [word for path in tree.paths for word in ("--cache", path)]
    command = ["--bucket", "trees", "--cache-key", name, "--fail-on-error", *flags]
    for word in ("rebuild", "restore"):
        strict = ["--fail-on-miss"] if word == "restore" else []
        done = program.run(["cache", word, *command, *strict], environment, workspace, timeout=600)
        if done.code:
            return f"{word}: {done.stderr}"
        if word == "rebuild":
            for path in (*tree.paths, ".s3batch"):
                shutil.rmtree(workspace / path)
    after = _snapshot(workspace, tree)
    if before != after:
        paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        return f"{len(paths):,} entries differ, such as {os.fsdecode(paths[0])}"
    return shell_of(tree.use)


def _snapshot(workspace: Path, tree: Tree) -> dict[bytes, tuple]:
    return {
        os.fsencode(f"{path}/") + below: facts
        for path in tree.paths
        for below, facts in snapshot(workspace / path).items()
    }


def _run(command: list[str], environment: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(command, check=False, env=environment, cwd=cwd, capture_output=True, text=True, timeout=900)
    return (
        "" if done.returncode == 0 else f"{command[-1]}: exit {done.returncode}: {(done.stdout + done.stderr)[-800:]}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
