"""``s3batch sync ... --plan FILE``: plan as a dry run does, and save the plan instead of printing it."""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from s3batch.commands.plans.plan_file import PlanWriter
from s3batch.commands.sync.begin import begin_job
from s3batch.commands.sync.direction_job import DirectionJob
from s3batch.commands.sync.job import SyncJob
from s3batch.model import Kind, ListedObject
from s3batch.plan.listed_keys import look_up_by_head, record_by_head
from s3batch.plan.planner import Planner
from s3batch.settings.shell_lines import format_shell_line

if TYPE_CHECKING:
    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.coordinator.job_description import Document
    from s3batch.model import Operation
    from s3batch.plan.bulk_decision import BulkDecision
    from s3batch.plan.spec import SyncSpec
    from s3batch.reporting.console import Output
    from s3batch.s3.bucket import Bucket
    from s3batch.settings.table import Settings
    from s3batch.source.file_batch import FileBatch
    from s3batch.source.path_list import PathList


_BATCH = 500


def save_plan(wanted: SyncSpec, output: Output, paths: PathList | None) -> int:
    """Plan an upload into the file that ``plan`` names; return the exit code."""
    rehearsed = wanted._replace(settings=wanted.settings._replace(dry_run=True))
    target = f"{wanted.target.bucket}/{wanted.prefix}"
    with begin_plan_file(wanted.settings, wanted.source.root, target, wanted.settings.endpoint_url) as writer:
        return begin_job(rehearsed, output, partial(PlanningJob, writer=writer, paths=paths))


def begin_plan_file(settings: Settings, source: str, target: str, endpoint: str) -> PlanWriter:
    """Return the writer of a plan, which has its first line, without secrets. Raises SettingsError."""
    writer = PlanWriter(settings.plan_path)
    writer.begin(
        {
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "source": source,
            "target": target,
            "endpoint": endpoint,
            "settings": settings._replace(command="apply", dry_run=False).public(),
        }
    )
    return writer


class PlanSaver(DirectionJob):
    """What a dry run does whose plan goes to a file, in any direction. A plan with a failure is not saved.

    ``left_out`` has the codes of failures that no later run avoids: such keys are named, and the plan holds the rest.
    """

    left_out: Collection[str] = ()

    def __init__(self, *common: Any, writer: PlanWriter, **more: Any) -> None:
        """Take the writer of the plan, and what the job of a direction takes."""
        super().__init__(*common, **more)
        self.writer = writer
        self._held: list[Operation] = []
        """Operations that are not written yet."""

    def report_planned(self, operation: Operation) -> None:
        """Save one operation of the plan."""
        super().report_planned(operation)
        self._held.append(operation)
        if len(self._held) >= _BATCH:
            self.save_held()

    def write_plan_line(self, operation: str, key: str, reason: str) -> None:
        """Keep a line of the plan for the document; stdout has none."""
        self.plan.add({"operation": operation, "key": key, "reason": reason})

    def save_held(self) -> None:
        """Write operations with what was listed of them; a look-up of many keys costs as much as one of one."""
        facts = self.journal.objects.look_up([each.key for each in self._held])
        listed = {key: found for key, (found, _) in facts.items()}
        # a redirect may be anywhere in the bucket, also where nothing was listed
        unlisted = [each.key for each in self._held if each.kind is Kind.REDIRECT and listed[each.key] is None]
        if unlisted:
            heads = look_up_by_head(self.bucket, unlisted)
            listed |= {each.key: each for each in heads if isinstance(each, ListedObject)}
        for each in self._held:
            self.writer.add(each, listed[each.key])
        self._held.clear()

    def print_end(self, document: Document) -> None:
        """Complete the plan if it is whole; print the end block."""
        place = self.settings.plan_path
        if document["state"] == "done" or self._is_whole_but_for_keys(document):
            self.save_held()
            self.writer.finish({name: document[name] for name in ("files", "bytes", "unchanged")})
            line = format_shell_line("s3batch", "apply", place)
            self.output.info(f"the plan is in {place}; to carry it out: {line}")
        else:
            self.output.error(f"no plan was saved to {place}")
        super().print_end(document)

    def _is_whole_but_for_keys(self, document: Document) -> bool:
        """Return true if the job came to its end, and what failed are keys that the plan may leave out."""
        failures = self.journal.outcomes.read_failures()
        return "error" not in document and all(each.code in self.left_out for each in failures)


class NamedFilesPlanner(Planner):
    """Plans the files of a list. Each object is looked at first, because a plan tells the state of each."""

    def __init__(self, *common: Any, bucket: Bucket, **more: Any) -> None:
        """Take the target's bucket, and what any planner takes."""
        super().__init__(*common, **more)
        self.bucket = bucket

    def _decide_batch(self, batch: FileBatch, bulk: BulkDecision) -> list[Operation]:
        record_by_head(self.journal, self.bucket, self.wanted.keys(batch.paths))
        return super()._decide_batch(batch, bulk)


class SyncPlanSaver(PlanSaver, SyncJob):
    """The same for a job whose target is in S3."""

    def run_later_stages(self, coordinator: Coordinator, planning: Planner) -> None:
        """Run the other stages, and save the rest of the plan while the bucket is open."""
        super().run_later_stages(coordinator, planning)
        self.save_held()


class PlanningJob(SyncPlanSaver):
    """The plan of an upload."""

    def make_planner(self) -> Planner:
        """Return the plan of the files."""
        if not self.settings.list_digest:
            return super().make_planner()
        return NamedFilesPlanner(self.wanted, self.journal, self.totals, events=self.output.events, bucket=self.bucket)
