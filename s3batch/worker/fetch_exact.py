"""The operations of a saved plan of a download: refused where the object or the file is not as it was planned.

    file as planned? ─> GET, pinned to the planned ETag ─> proof ─> file still as planned? ─> its place

A killed run may have done its part already. So a file that is not as planned counts if it holds the object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import Kind, Result, Step
from s3batch.worker.fetch import compare_file, fetch_object
from s3batch.worker.landing import landing_of, require_planned_file
from s3batch.worker.local_delete import delete_local
from s3batch.worker.results import RefusedChangeError, refused_result

if TYPE_CHECKING:
    from s3batch.model import Work
    from s3batch.worker.context import Tools

_BEFORE_A_CHANGE = frozenset({Step.WHOLE, Step.BEGIN, Step.FINISH})
_OTHER_OBJECT = {"Changed": "the object has changed", "Vanished": "the object is gone"}


async def fetch_as_planned(work: Work, tools: Tools) -> Result:
    """Carry out a download, or a step of one. Raises RefusedChangeError for a file that has drifted."""
    operation, landing = work.operation, landing_of(tools)
    if work.step in _BEFORE_A_CHANGE:
        try:
            require_planned_file(landing.tree, operation.path, operation.stamp)
        except OSError:
            pass  # the download names it
        except RefusedChangeError:
            if not operation.recheck or (done := await _find_done(work, tools)) is None:
                raise
            return done
        landing.planned[operation.path] = operation.stamp
    result = await fetch_object(work, tools)
    if why := _OTHER_OBJECT.get(result.code):
        return refused_result(work, f"drifted: {why}")
    return result


async def _find_done(work: Work, tools: Tools) -> Result | None:
    """Return the result of a killed run that has fetched the object; ``None`` if the file holds something else."""
    found = await compare_file(work, tools)
    return None if found.error or found.become is not None else found._replace(step=work.step)


async def delete_as_planned(work: Work, tools: Tools) -> list[Result]:
    """Delete local files. One that has changed meanwhile, or has an object by now, is a failure."""
    changed = Result(
        0, error="drifted: the file has changed, or its key has an object now", code=refused_result(work, "").code
    )
    return [changed._replace(id=each.id) if each.already else each for each in await delete_local(work, tools)]


EXACT_EXTENSIONS = ((Kind.DOWNLOAD, fetch_as_planned), (Kind.DELETE, delete_as_planned))
"""For :attr:`s3batch.worker.context.Brief.extensions`."""
