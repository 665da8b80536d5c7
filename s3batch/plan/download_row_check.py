"""A check of the rows that an earlier download left, before anything is fetched for them.

A journal may have been written by another program. So a row counts only if this job's own plan could have made it: a
download or a comparison of a key below the source, with the path that the key gives. Deletes are always planned anew.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.model import Kind
from s3batch.plan.key_names import find_name_problem

if TYPE_CHECKING:
    from s3batch.model import Operation
    from s3batch.plan.download_spec import DownloadSpec

_UNFINISHED = re.compile(r"\d+-[0-9a-f]{16}")
"""The name of an unfinished file, as :func:`s3batch.worker.fetch_parts.create_unfinished` makes it."""


class DownloadRowCheck:
    """Tells rows that a plan of this job could have made from others."""

    def __init__(self, wanted: DownloadSpec) -> None:
        self._wanted = wanted

    def admit(self, operation: Operation) -> Operation:
        """Return the operation to carry out for a row of an earlier run. Raises ValueError if there is none."""
        wanted, path = self._wanted, operation.path
        if operation.kind not in (Kind.DOWNLOAD, Kind.RECONCILE):
            raise ValueError(f"a download takes over no operation {operation.kind.value}")
        if not wanted.owns(operation.key) or path != wanted.path(operation.key):
            raise ValueError(f"the path of {operation.key!r} is not {path!r}")
        if not path or path.endswith("/") or find_name_problem(path) or wanted.leaves_out(path):
            raise ValueError(f"the job has no file {path!r}")
        if operation.upload_id and not _UNFINISHED.fullmatch(operation.upload_id):
            raise ValueError(f"{operation.upload_id!r} is no unfinished file")
        return operation._replace(spec=None)
