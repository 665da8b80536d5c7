"""Signals before, while and after there is something to do."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from s3batch.coordinator.signals import InterruptedJobError, Interrupter, Signals, TerminatedError
from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.slow
@pytest.mark.parametrize("number", STOPPING, ids=lambda number: number.name)
def test_a_signal_while_python_imports_leaves_the_documents_asked_for(tmp_path, number):
    """The moment is told by the first module that the program imports, which is made to send the signal itself."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Sends:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == os.environ['AT']:\n            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Sends())\n"
    )
    (tmp_path / "src").mkdir()
    words = ["sync", "src", "s3://b/x", "--endpoint-url", "http://127.0.0.1:9", "--json", "--report", "r.json"]
    for module in ("s3batch.cli", "s3batch.settings.table", "s3batch.cli.loading", "s3batch.commands.sync.directions"):
        environ = program.clean_environment(tmp_path) | {"AT": module}
        environ["PYTHONPATH"] = f"{tmp_path}:{environ['PYTHONPATH']}"

        ran = program.run(words, environ, tmp_path)

        assert (module, ran.code) == (module, 128 + number)
        assert ran.stderr == f"s3batch: error: {'interrupted' if number == signal.SIGINT else 'terminated'}\n"
        assert (ran.json["state"], ran.json["exit_code"]) == ("interrupted", 128 + number)
        assert (tmp_path / "r.json").read_text() == ran.stdout
        (tmp_path / "r.json").unlink()


@pytest.mark.slow
def test_a_second_signal_while_python_imports_ends_it_at_once(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Sends:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('s3batch.cli', 's3batch.base.errors'):\n            os.kill(os.getpid(), 15)\n"
        "sys.meta_path.insert(0, Sends())\n"
    )
    environ = program.clean_environment(tmp_path)
    environ["PYTHONPATH"] = f"{tmp_path}:{environ['PYTHONPATH']}"

    ran = program.run(["config"], environ, tmp_path)

    assert (ran.code, ran.stdout, ran.stderr) == (143, "", "")


@pytest.mark.slow
def test_a_hang_up_that_is_ignored_stays_ignored(tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGHUP)"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Sends:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 's3batch.cli.show_config':\n            exec({code!r})\nsys.meta_path.insert(0, Sends())\n"
    )
    environ = program.clean_environment(tmp_path)
    environ["PYTHONPATH"] = f"{tmp_path}:{environ['PYTHONPATH']}"

    ran = subprocess.run(
        ["nohup", sys.executable, "-m", "s3batch", "config"], env=environ, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", STOPPING, ids=lambda number: number.name)
def test_a_signal_after_all_work_is_done_ends_0(tmp_path, number):
    """The report is held up by a pipe that is full; the signal comes then."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("a")
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, b" " * 4096)
    with FakeS3() as fake:
        environ = program.clean_environment(tmp_path)
        environ |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        words = ["sync", tmp_path / "tree", "s3://b/p", "--endpoint-url", fake.url, "--json", "--workers", "1"]
        process = program.start(words, environ, tmp_path, stdout=write)
        os.close(write)
        _wait_until_blocked(process)
        process.send_signal(number)
        time.sleep(0.1)
        with open(read, encoding="utf-8") as pipe:
            document = pipe.read()
        ended = program.finish(process)

    assert (ended.code, "Traceback" in ended.stderr) == (0, False)
    assert '"state": "done"' in document


def _wait_until_blocked(process: subprocess.Popen[str]) -> None:
    """Until it waits for the reader of its pipe."""
    place = Path(f"/proc/{process.pid}/wchan")
    until = time.monotonic() + 20
    while "pipe" not in (place.read_text() if place.exists() else ""):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_interrupter_raises_until_the_work_is_over():
    interrupter = Interrupter()

    with pytest.raises(KeyboardInterrupt):
        interrupter(signal.SIGINT, None)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        with pytest.raises(TerminatedError) as ended:
            interrupter(number, None)
        assert ended.value.exit_code == code
    interrupter.over = True
    interrupter(signal.SIGTERM, None)


def test_a_job_that_is_over_tells_the_interrupter_and_takes_one_signal_in_silence():
    before = signal.getsignal(signal.SIGTERM)
    interrupter = Interrupter()
    signal.signal(signal.SIGTERM, interrupter)
    try:
        with Signals() as signals:
            signals.work_is_over()
            os.kill(os.getpid(), signal.SIGTERM)
            assert (signals.seen, interrupter.over) == (0, True)
            with pytest.raises(InterruptedJobError) as ended:
                os.kill(os.getpid(), signal.SIGTERM)
            assert ended.value.exit_code == 143
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_hang_up_stops_a_job_as_a_termination_does():
    with Signals() as signals:
        signals.gentle = True
        os.kill(os.getpid(), signal.SIGHUP)

        assert signals.seen == signal.SIGHUP
        assert InterruptedJobError(signals.seen).exit_code == 129
