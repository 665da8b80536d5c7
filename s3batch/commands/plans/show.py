"""``s3batch plan FILE``: show a saved plan as a dry run shows its own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from s3batch.base.errors import EXIT_DONE, SettingsError
from s3batch.base.units import format_plural
from s3batch.commands.plans.plan_file import read_plan
from s3batch.reporting.json_stream import Rows
from s3batch.reporting.publish import publish_document
from s3batch.settings.direction import format_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3batch.commands.plans.plan_file import SavedPlan
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings


def show_plan(settings: Settings, output: Output) -> int:
    """Print every operation of a plan. Raises SettingsError for a damaged one."""
    if not settings.argument:
        raise SettingsError("no plan is named", hint="write s3batch plan FILE")
    plan = read_plan(settings.at_workspace(settings.argument))
    if settings.wants_document:
        header = plan.header
        facts = {"made": header["made"], "source": header["source"], "target": format_place(header["target"])}
        rows = Rows(lambda: _describe_operations(plan), plan.facts["operations"])
        counts = {name: plan.facts[name] for name in ("files", "bytes", "unchanged")}
        document = {**facts, "endpoint": header["endpoint"] or None, "exit_code": EXIT_DONE, "plan_file": plan.path}
        publish_document(settings, output, {**document, **counts, "plan": rows})
        return EXIT_DONE
    counted: Counter[str] = Counter()
    for row in _describe_operations(plan):
        counted[row["operation"]] += 1
        output.data(f"{row['operation']} {row['key']} {row['reason']}")
    words = ", ".join(format_plural(count, kind) for kind, count in sorted(counted.items())) or "nothing to do"
    output.info(
        f"plan of {plan.header['made']}: {plan.header['source']} to {format_place(plan.header['target'])} at "
        f"{plan.header['endpoint'] or 'AWS'}: {words}"
    )
    return EXIT_DONE


def _describe_operations(plan: SavedPlan) -> Iterator[dict[str, str]]:
    for operation in plan.operations():
        yield {"operation": operation.kind.value, "key": operation.key, "reason": operation.reason.value}
