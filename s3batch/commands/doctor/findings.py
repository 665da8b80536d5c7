"""The findings of the doctor as values, and their forms: a table for people, a document for programs, an exit code."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from s3batch.base.errors import EXIT_DONE, EXIT_FAILED
from s3batch.base.named_tuple import NamedTuple
from s3batch.reporting.text import format_table
from s3batch.s3 import permissions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3batch.quirks import Quirk
    from s3batch.s3.faults import Fault

_WIDEST = 44
"""Characters of a column but the last."""


class RequestOutcome(StrEnum):
    """The outcome of a request."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    NO_EFFECT = "without effect"
    """The store accepted it without its effect."""
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCheck:
    """A row of the table: a request that jobs make."""

    needed_for: str
    call: str
    """S3's name of the request."""
    outcome: RequestOutcome
    needed: bool = True
    """True if these settings need it; optional requests are tried too."""
    words: str = ""
    """Why it was not tried or had no effect."""
    fault: Fault | None = None
    permissions: tuple[str, ...] = ()
    hint: str = ""

    @property
    def failed(self) -> bool:
        """True if a job will miss it."""
        return self.needed and self.outcome is not RequestOutcome.ALLOWED

    def result(self) -> str:
        """Return the text of the last column."""
        said = self.words or (_describe_fault(self.fault) if self.fault else "")
        verdict = (
            self.outcome.value
            if self.needed or self.outcome is RequestOutcome.ALLOWED
            else f"{self.outcome} (optional)"
        )
        needs = permissions.permission_sentence(self.permissions)
        return "; ".join(filter(None, (f"{verdict}: {said}" if said else verdict, needs, self.hint)))

    def document(self) -> dict[str, Any]:
        """Return the row as JSON."""
        fault = self.fault
        return {
            "needed_for": self.needed_for,
            "call": self.call,
            "needed": self.needed,
            "outcome": self.outcome.value,
            "code": fault.code if fault else "",
            "status": fault.status if fault else 0,
            "request_id": fault.request_id if fault else "",
            "error": self.words or (str(fault) if fault else ""),
            "permissions": list(self.permissions),
            "hint": self.hint,
        }


class Fact(NamedTuple):
    """Something about the store that is neither allowed nor refused."""

    name: str
    value: Any
    """For programs; ``None`` where it could not be found out."""
    words: str
    """For people."""


@dataclass(slots=True)
class Findings:
    """All of it, in the order it was found."""

    checks: list[RequestCheck] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    quirks: list[Quirk] = field(default_factory=list)
    """Attributes that the store drops, refuses or does not return, including those that jobs found."""
    warnings: list[str] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when everything needed is allowed."""
        return EXIT_FAILED if any(check.failed for check in self.checks) else EXIT_DONE

    def fact(self, name: str, value: Any, words: str = "") -> None:
        """Note something about the store; a boolean needs no words."""
        self.facts.append(Fact(name, value, words or _YES_NO.get(value, str(value))))

    def verdict(self) -> str:
        """Return the last line."""
        failed = sum(check.failed for check in self.checks)
        needed = sum(check.needed for check in self.checks)
        return f"{failed} of {needed} needed requests do not work" if failed else f"all {needed} needed requests work"

    def table(self) -> list[str]:
        """Return the lines of the checks, then of the facts."""
        rows = [("needed for", "call", "result")]
        rows += [(check.needed_for, check.call, check.result()) for check in self.checks]
        facts = [(fact.name.replace("_", " "), fact.words) for fact in self.facts]
        quirks = [f"quirk of the store: {quirk.words()}" for quirk in self.quirks]
        return [*format_table(rows, _WIDEST), "", *format_table([("the store", ""), *facts], _WIDEST), *quirks]

    def document(self, about: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Return the JSON document; ``about`` names bucket and credentials."""
        return {
            "command": "doctor",
            "state": "failed" if self.exit_code else "done",
            "exit_code": self.exit_code,
            "seconds": round(seconds, 3),
            **about,
            "checks": [check.document() for check in self.checks],
            "store": {fact.name: fact.value for fact in self.facts},
            "quirks": [
                {"quirk": each.kind.value, "about": each.about, "detail": each.detail, "words": each.words()}
                for each in self.quirks
            ],
            "requests": dict(sorted(self.requests.items())),
            "warnings": self.warnings,
        }


_YES_NO: Mapping[Any, str] = {True: "yes", False: "no", None: "unknown"}


def _describe_fault(fault: Fault) -> str:
    facts = [f"HTTP {fault.status}" if fault.status else "", f"request {fault.request_id}" if fault.request_id else ""]
    more = ", ".join(filter(None, facts))
    return f"{fault} ({more})" if more else str(fault)
