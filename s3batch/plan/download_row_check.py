"""A check of the rows that an earlier download left, before anything is fetched for them.

A journal may have been written by another program. So a row counts only if this job's own plan could have made it: a
download or a comparison of a key below the source, with the path that the key gives. Deletes are always planned anew.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3batch.model import Kind, Stage
from s3batch.plan.key_names import find_name_problem

if TYPE_CHECKING:
    from s3batch.model import Operation
    from s3batch.plan.download_spec import DownloadSpec

_UNFINISHED = re.compile(r"\d+-[0-9a-f]{16}")
"""The name of an unfinished file, as :func:`s3batch.worker.fetch_parts.create_unfinished` makes it."""

_LOCAL_STATE = re.compile(r"(\d{1,4})(?::-?\d+){5}")
"""The state of a local file, as :func:`s3batch.worker.local_delete.encode_local_state` writes it."""


class DownloadRowCheck:
    """Tells rows that a plan of this job could have made from others."""

    def __init__(self, wanted: DownloadSpec) -> None:
        self._wanted = wanted

    def admit(self, operation: Operation) -> Operation | None:
        """Return the operation to carry out for a row of an earlier run. Raises ValueError if there is none.

        ``None``: an ignore file leaves its object out since then.
        """
        wanted, path = self._wanted, operation.path
        if operation.kind not in (Kind.DOWNLOAD, Kind.RECONCILE):
            raise ValueError(f"a download takes over no operation {operation.kind.value}")
        if not wanted.owns(operation.key) or path != wanted.path(operation.key):
            raise ValueError(f"the path of {operation.key!r} is not {path!r}")
        if not path or path.endswith("/") or find_name_problem(path) or self._is_foreign(path):
            raise ValueError(f"the job has no file {path!r}")
        if operation.upload_id and not _UNFINISHED.fullmatch(operation.upload_id):
            raise ValueError(f"{operation.upload_id!r} is no unfinished file")
        return None if wanted.selection.is_hidden(path) else operation._replace(spec=None)

    def _is_foreign(self, path: str) -> bool:
        """Return whether the job has nothing to do with this path, also without the ignore files."""
        return self._wanted.leaves_out(path) and (
            self._wanted.keeps_out(path) or not self._wanted.selection.is_hidden(path)
        )


class PlannedDownloadCheck(DownloadRowCheck):
    """The same for the operations of a saved plan, which are carried out as they are."""

    def admit(self, operation: Operation) -> Operation:
        """Return the operation itself. Raises ValueError for one that this job could not have planned."""
        if operation.kind is Kind.RECONCILE:
            raise ValueError("a plan has no operation reconcile")
        if operation.kind is not Kind.DELETE:
            if operation.stage != Stage.MAIN:
                raise ValueError(f"the download of {operation.key!r} is in no stage {operation.stage}")
            return super().admit(operation) or operation
        wanted, path, state = self._wanted, operation.path, _LOCAL_STATE.fullmatch(operation.etag)
        if not wanted.settings.delete or operation.stage != Stage.DELETE or operation.key != wanted.key(path):
            raise ValueError(f"the job does not delete {path!r}")
        if not path or find_name_problem(path) or self._is_foreign(path):
            raise ValueError(f"the job keeps {path!r}")
        if state is None or int(state[1]) > path.count("/"):
            raise ValueError(f"{operation.etag!r} is no state of {path!r}")
        return operation
