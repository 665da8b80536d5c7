"""``s3batch sync ... --plan FILE``: plan as a dry run does, and save the plan instead of printing it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from s3batch.commands.plans.plan_file import PlanWriter
from s3batch.commands.sync.begin import begin_job
from s3batch.commands.sync.job import SyncJob

if TYPE_CHECKING:
    from s3batch.coordinator.job_description import Document
    from s3batch.model import Operation
    from s3batch.plan.spec import SyncSpec
    from s3batch.reporting.console import Output


_BATCH = 500


def save_plan(wanted: SyncSpec, output: Output) -> int:
    """Plan a sync into the file that ``plan`` names; return the exit code."""
    rehearsed = replace(wanted, settings=replace(wanted.settings, dry_run=True))
    with PlanWriter(rehearsed.settings.at_workspace(rehearsed.settings.plan)) as writer:
        return begin_job(rehearsed, output, partial(PlanningJob, writer=writer))


@dataclass
class PlanningJob(SyncJob):
    """A dry run whose plan goes to a file. A plan with a failure is not saved."""

    writer: PlanWriter | None = None
    _held: list[Operation] = field(default_factory=list)
    """Operations that are not written yet."""

    def carry_out(self) -> None:
        """Plan everything."""
        if self.writer is not None:
            self.writer.begin(_make_header(self.wanted))
        super().carry_out()
        self._save_held()

    def report_planned(self, operation: Operation) -> None:
        """Save one operation of the plan."""
        super().report_planned(operation)
        self._held.append(operation)
        if len(self._held) >= _BATCH:
            self._save_held()

    def write_plan_line(self, operation: str, key: str, reason: str) -> None:
        """Keep a line of the plan for the document; stdout has none."""
        self.plan.add({"operation": operation, "key": key, "reason": reason})

    def _save_held(self) -> None:
        """Write operations with what was listed of them; a look-up of many keys costs as much as one of one."""
        facts = self.journal.objects.look_up([each.key for each in self._held])
        for each in self._held:
            if self.writer is not None:
                self.writer.add(each, facts[each.key][0])
        self._held.clear()

    def print_end(self, document: Document) -> None:
        """Complete the plan if it is whole; print the end block."""
        place = self.settings.at_workspace(self.settings.plan)
        if self.writer is not None and document["state"] == "done":
            self.writer.finish({name: document[name] for name in ("files", "bytes", "unchanged")})
            self.output.info(f"the plan is in {place}; to carry it out: s3batch apply {place}")
        else:
            self.output.error(f"no plan was saved to {place}")
        super().print_end(document)


def _make_header(wanted: SyncSpec) -> dict[str, object]:
    """Return what the first line of a plan says, without secrets."""
    settings = replace(wanted.settings, command="apply", dry_run=False)
    return {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "source": wanted.source.root,
        "target": f"{wanted.target.bucket}/{wanted.prefix}",
        "endpoint": wanted.settings.endpoint_url,
        "settings": settings.public(),
    }
