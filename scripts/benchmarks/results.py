"""The stored results: what each row measured, when, by which command, with which programs on which machine."""

from __future__ import annotations

import datetime as dt
import json
import platform
import shlex
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.rig.servers import ROOT

RESULTS = ROOT / "docs" / "benchmarks.json"
Results = dict[str, dict[str, Any]]


def load_results(path: Path = RESULTS) -> Results:
    """Return the records of all rows that were measured."""
    return json.loads(path.read_text()) if path.exists() else {}


def save_results(results: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Store the records."""
    path.write_text(json.dumps(results, indent=1) + "\n")


def make_record(data: dict[str, Any], before: Any, after: Any, versions: Mapping[str, str]) -> dict[str, Any]:
    """Return the record of one row."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "command": shlex.join(["scripts/bench", *sys.argv[1:]]),
        "machine": describe_machine(),
        "python": describe_python(platform.python_version(), sysconfig.get_config_var("CONFIG_ARGS") or ""),
        "versions": dict(versions),
        "calibration": {"before": before, "after": after},
        "data": data,
    }


def describe_python(version: str, configured: str) -> str:
    """Return version and build of a Python, from the arguments that it was configured with."""
    options = (("PGO", "--enable-optimizations"), ("LTO", "--with-lto"))
    words = [f"with{'' if flag in configured else 'out'} {name}" for name, flag in options]
    return f"Python {version}, configured {' and '.join(words)}"


def describe_machine() -> str:
    """Return processor, memory and kernel."""
    processors = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in processors if line.startswith("model name")), "?")
    cores = sum(line.startswith("processor") for line in processors)
    gib = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    return f"{cores} cores ({model}), {gib:.0f} GiB, Linux {platform.release()}"
