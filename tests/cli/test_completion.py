"""The completion scripts in the shells themselves, and the man page under the programs that show it."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from s3batch.cli.completion import format_completion
from s3batch.cli.completion.man_page import EXIT_STATUS, format_man_page
from s3batch.settings.schema import COMMANDS
from s3batch.settings.table import TABLE
from tests.rig.program import ROOT

LINES = [
    ("s3batch verif", {"verify"}, {"sync"}),
    ("s3batch cache re", {"restore", "rebuild"}, {"list"}),
    ("s3batch sync --del", {"--delete"}, {"--ttl"}),
    ("s3batch cache prune --keep", {"--keep-last"}, {"--delete"}),
    ("s3batch sync --progress pl", {"plain"}, {"none"}),
    ("s3batch completion f", {"fish"}, {"bash"}),
    ("s3batch sync read", {"readme.md"}, set()),
]
"""A command line, what completes its last word, and what does not."""


def require(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"there is no {shell} here")
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a file and the three scripts."""
    (tmp_path / "readme.md").touch()
    for shell in ("bash", "zsh", "fish"):
        (tmp_path / f"script.{shell}").write_text(format_completion([shell]))
    return tmp_path


def run(argv: list[str], cwd: Path) -> str:
    environ = {"HOME": str(cwd), "PATH": os.environ["PATH"], "TERM": "dumb"}
    ran = subprocess.run(argv, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.parametrize(("line", "wanted", "others"), LINES)
def test_bash_completes(place, line, wanted, others):
    words = line.split()
    script = (
        f"source ./script.bash; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _s3batch;"
        ' [ ${#COMPREPLY[@]} = 0 ] && COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")); printf "%s\\n" "${COMPREPLY[@]}"'
    )

    found = set(run([require("bash"), "--norc", "-c", script], place).split())

    assert wanted <= found
    assert not others & found


def test_bash_completes_a_value_after_an_equals_sign(place):
    script = (
        "source ./script.bash; COMP_WORDS=(s3batch sync --progress = b); COMP_CWORD=4; _s3batch; echo ${COMPREPLY[@]}"
    )

    assert run([require("bash"), "--norc", "-c", script], place) == "bar\n"


@pytest.mark.parametrize(
    ("word", "completed"),
    [("--progress=b", "--progress=bar"), ("--report=rea", "--report=readme.md"), ("--report=none", "")],
)
def test_bash_completes_a_value_where_an_equals_sign_breaks_no_word(place, word, completed):
    script = f"source ./script.bash; COMP_WORDS=(s3batch sync {word}); COMP_CWORD=2; _s3batch; echo ${{COMPREPLY[@]}}"

    assert run([require("bash"), "--norc", "-c", script], place) == f"{completed}\n"


@pytest.mark.parametrize("breaks", ["", "COMP_WORDBREAKS=${COMP_WORDBREAKS//=}"])
def test_a_tab_in_bash_completes_flag_value_and_file(place, breaks):
    bash = require("bash")
    (place / "rc").write_text(f"PS1='> '; source ./script.bash; {breaks}\nset +o history\necho ready\n")
    process, terminal = pty.fork()
    if not process:
        os.chdir(place)
        environ = {"HOME": str(place), "PATH": os.environ["PATH"], "TERM": "dumb", "COLUMNS": "200"}
        os.execve(bash, [bash, "--noprofile", "--rcfile", "rc", "-i"], environ)
    shown = {}
    try:
        read_terminal(terminal, "ready")
        for line, wanted in [
            ("s3batch sync --progress=ba\t", "--progress=bar"), ("s3batch sync --report=rea\t", "--report=readme.md"),
            ("s3batch sync --dele\t", "--delete"), ("s3batch sync --report rea\t", "--report readme.md"),
        ]:  # fmt: skip
            os.write(terminal, line.encode())
            shown[wanted] = read_terminal(terminal, wanted)
            os.write(terminal, b"\x15")
    finally:
        os.close(terminal)
        os.waitpid(process, 0)

    assert [wanted for wanted, text in shown.items() if wanted not in text] == []


@pytest.mark.parametrize(("line", "wanted", "others"), LINES)
def test_fish_completes(place, line, wanted, others):
    listed = run([require("fish"), "--no-config", "-c", f"source ./script.fish; complete -C '{line}'"], place)
    found = {row.split("\t")[0] for row in listed.splitlines()}

    assert wanted <= found
    assert not others & found


def test_zsh_completes(place):
    """In a terminal, where its completion works only."""
    zsh = require("zsh")
    (place / ".zshrc").write_text(
        "PS1='> '; zstyle ':completion:*' list-colors ''; autoload -Uz compinit; compinit -u -D; source ./script.zsh; "
        "bindkey '^X' list-choices; echo ready\n"
    )
    shown = {}
    process, terminal = pty.fork()
    if not process:
        os.chdir(place)
        os.execve(zsh, [zsh, "-i"], {"HOME": str(place), "PATH": os.environ["PATH"], "TERM": "dumb", "COLUMNS": "200"})
    try:
        read_terminal(terminal, "ready")
        for line, wanted, _ in LINES:
            os.write(terminal, f"{line}\t".encode())
            shown[line] = read_terminal(terminal, *wanted)
            os.write(terminal, b"\x15")  # an empty line again
    finally:
        os.close(terminal)
        os.waitpid(process, 0)

    assert {line: [word for word in wanted if word not in shown[line]] for line, wanted, _ in LINES} == {
        line: [] for line, _, _ in LINES
    }


def read_terminal(terminal: int, *words: str) -> str:
    """Read until all of these words were shown, for 20 s at most."""
    read, until = "", time.monotonic() + 20
    while not all(word in read for word in words) and time.monotonic() < until:
        if select.select([terminal], [], [], 0.2)[0]:
            read += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(terminal, 65536).decode(errors="replace"))
    return read


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_valid_and_ends_well(call, place, shell):
    assert call("completion", shell).out == format_completion([shell])
    run([require(shell), "-n", f"script.{shell}"], place)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "the shell is missing; write s3batch completion bash, zsh or fish"),
        (["tcsh"], "there is no completion for 'tcsh'; write bash, zsh or fish"),
        (["bash", "zsh"], "completion got an unexpected argument 'zsh'; name one shell"),
    ],
)
def test_another_shell_is_refused(call, argv, sentence):
    assert (call("completion", *argv).code, call("completion", *argv).err) == (2, f"s3batch: error: {sentence}\n")


def test_the_man_page_names_every_command_flag_and_exit_code():
    page = format_man_page("1.2.3").replace("\\-", "-")

    assert all(f"\\fB{command}\\fR" in page for command in COMMANDS)
    assert all(row.flag in page or f"--no-{row.flag[2:]}" in page for row in TABLE.values())
    assert all(f".TP\n{code}\n" in page for code in EXIT_STATUS)
    codes = re.findall(
        r"^\| ([\d, ]+) \|", (ROOT / "docs/cli.md").read_text().partition("## Exit codes")[2], re.MULTILINE
    )
    assert {code.strip() for codes in EXIT_STATUS for code in codes.split(",")} == {
        code.strip() for cell in codes for code in cell.split(",")
    }


@pytest.mark.parametrize("argv", [["groff", "-man", "-Tutf8", "-ww"], ["mandoc", "-T", "lint", "-W", "warning"]])
def test_the_man_page_is_shown_without_a_warning(tmp_path, argv):
    (tmp_path / "s3batch.1").write_text(format_man_page("1.2.3"))

    ran = subprocess.run(
        [require(argv[0]), *argv[1:], tmp_path / "s3batch.1"], capture_output=True, text=True, check=False
    )

    lines = [line for line in ran.stdout.splitlines() if argv[0] == "mandoc" and "missing date" not in line]
    assert (lines, ran.stderr) == ([], "")
