"""The Prometheus form, for the textfile collector of node_exporter.

Every run has every metric, so that an alert does not miss one that is absent. Keys are no labels: each would be a time
series of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from s3batch.model import Kind
from s3batch.s3 import permissions

if TYPE_CHECKING:
    from s3batch.reporting.run_report import RunReport

_STATES = ("planned", "done", "failed", "skipped")
_REQUESTS = tuple(
    name for name, actions in permissions.NEEDED.items() if any(action.startswith("s3:") for action in actions)
)
"""The requests that are 0 where a run made none."""

Samples = list[tuple[dict[str, str], float]]


def render_prometheus(report: RunReport) -> Iterator[str]:
    """Yield the report in the text format of Prometheus."""
    document = report.document
    labels = {"command": str(document.get("command") or ""), "target": report.target}
    for name, sentence, samples in _collect_metrics(report):
        yield f"# HELP s3batch_{name} {sentence}\n# TYPE s3batch_{name} gauge\n"
        for more, value in samples:
            yield f"s3batch_{name}{_format_labels(labels | more)} {_format_metric(value)}\n"


def _collect_metrics(report: RunReport) -> list[tuple[str, str, Samples]]:
    document = report.document
    code = document.get("exit_code")
    return [
        ("exit_code", "Exit code of the last run.", _single(float("nan") if code is None else code)),
        ("started_seconds", "Time at which the last run began, in seconds since 1970.", _time(document, "started")),
        ("ended_seconds", "Time at which the last run ended, in seconds since 1970.", _time(document, "ended")),
        ("files", "Files of the source.", _single(document.get("files", 0))),
        ("bytes", "Bytes of the files of the source.", _single(document.get("bytes", 0))),
        ("operations", "Operations by kind and state.", _list_operations(document)),
        ("requests", "Requests by name.", _list_requests(document)),
        ("retries", "Operations and parts that were tried again.", _single(document.get("retries", 0))),
        ("failures", "Operations that failed, differences of a verify, refusals of a doctor.",
         _single(report.problem_count)),
        ("warnings", "Warnings.", _single(len(document.get("warnings", ())))),
    ]  # fmt: skip


def _single(value: float) -> Samples:
    return [({}, value)]


def _time(document: Mapping[str, Any], name: str) -> Samples:
    text = document.get(name)
    return _single(datetime.fromisoformat(text).timestamp() if text else 0)


def _list_operations(document: Mapping[str, Any]) -> Samples:
    operations = document.get("operations", {})
    kinds = dict.fromkeys([*map(str, Kind), *operations])
    return [
        ({"operation": kind, "state": state}, operations.get(kind, {}).get(state, 0))
        for kind in kinds
        for state in _STATES
    ]


def _list_requests(document: Mapping[str, Any]) -> Samples:
    requests = document.get("requests", {})
    return [({"request": name}, requests.get(name, 0)) for name in sorted({*_REQUESTS, *requests})]


def _format_labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape_label(value)}"' for name, value in labels.items()) + "}"


def _escape_label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _format_metric(value: float) -> str:
    return "NaN" if value != value else f"{value:.3f}".rstrip("0").rstrip(".")  # noqa: PLR0124 - NaN is not itself
