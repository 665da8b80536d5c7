"""The facts of a job for its workers, and the tools with which they carry operations out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3batch.base import hashes
from s3batch.base.named_tuple import NamedTuple
from s3batch.quirks import NO_QUIRKS, Quirk, QuirkKind, Quirks
from s3batch.s3 import checksums
from s3batch.s3.checked_upload import Checks
from s3batch.s3.permissions import refusal_words
from s3batch.settings.s3_limits import COPY_LIMIT
from s3batch.source.reader import SourceReader
from s3batch.worker.buffers import Buffers
from s3batch.worker.delete_check import DeleteCheck
from s3batch.worker.findings import CopyFindings, TagFindings

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3batch.model import (
        Attributes,
        Kind,
        Operation,
        Result,
    )
    from s3batch.objects.attributes import AttributeRules
    from s3batch.s3.endpoint import Endpoint
    from s3batch.s3.faults import Fault
    from s3batch.s3.head_forms import HeadForms
    from s3batch.s3.requests import Request
    from s3batch.s3.sigv4 import Credentials
    from s3batch.s3.write_gate import WriteGate
    from s3batch.settings.bandwidth import Bandwidth


_ACL_WARNING = (
    "the bucket has ACLs disabled (AccessControlListNotSupported): objects are stored without the ACL that the acl setting "
    "or a redirect asks for"
)
_SIGNED_TEXT = 1024
"""Bytes that are hashed for the signature of a request, about."""
ACL_MARKS = ".s3batch-acl/"
"""The directory of a backup for ACLs."""


class BackupPlace(NamedTuple):
    """The place of a job's backup."""

    bucket: str
    prefix: str
    """The prefix of the backup, with the id of the job, and a slash at its end."""

    def key(self, key: str) -> str:
        """Return the key of the backup of an object."""
        return self.prefix + key

    def acl_mark(self, acl: str, key: str) -> str:
        """Return the key of the empty object that tells the canned ACL of an object, if that is not private."""
        return f"{self.prefix}{ACL_MARKS}{acl}/{key}"


class LocalTarget(NamedTuple):
    """The directory that a download writes to."""

    root: str
    prefix: str
    """The front of every key; what follows is the path below the directory."""
    preserve: frozenset[str] = frozenset()
    """Attributes of the file that the object's metadata gives it, beside its time."""


class FenceMark(NamedTuple):
    """The fence of ``newest_wins``: an object that holds the highest number of a run."""

    key: str
    number: int
    """The number of this run: a higher one in the object is of a newer run."""


class Brief(NamedTuple):
    """Everything a worker has to know of its job; it crosses the process boundary once."""

    endpoint: Endpoint
    root: str
    """The source: a directory, or one file."""
    rules: AttributeRules
    source: SourceBucket | None = None
    """The source of a transfer; ``None`` where the source is local."""
    symlinks: str = "follow"
    """The link policy of the walk; a file is opened under it too."""
    limit: int = 64
    """Requests in flight in this worker."""
    stretches: bool = False
    """True if it may have more where the store answers them as quickly, see :mod:`s3batch.executors.window_stretch`."""
    bandwidth: Bandwidth = 0.0
    """Bytes per second for this worker; 0 for no limit; or a timetable of them."""
    part_size: int = 16 * 1024 * 1024
    copy_limit: int = COPY_LIMIT
    forsaken_after: float = 5.0
    """Seconds without a word from the coordinator after which nothing more is begun, and nothing changed."""
    stuck_after: float = 15.0
    """Seconds without a block of a file after which the worker says that it hangs."""
    dry_run: bool = False
    """Look and compare, change nothing."""
    target: LocalTarget | None = None
    """Where a download writes; ``None`` in every other direction."""
    reads_back: bool = False
    """True if an object is read where nothing else proves what it holds."""
    sends: bool = True
    """True if there may be bodies to send."""
    extensions: tuple[tuple[Kind, Callable[..., Any]], ...] = ()
    """The functions for kinds that other modules define (chunks): importable, taking work and tools."""
    exact: bool = False
    """Carry out a saved plan: an operation whose file or object is not as it was planned is refused."""
    backup: BackupPlace | None = None
    """The place to which an object is copied right before it is overwritten or deleted."""
    fence: FenceMark | None = None
    """The fence of ``newest_wins``, which is looked at right before an object is changed."""
    delete_check: DeleteCheck = DeleteCheck(listed="")
    """The check before deletes."""
    quirks: Quirks = NO_QUIRKS
    """The quirks that earlier jobs found out about the store."""
    compares_times: bool = False
    """True if the first new object is checked: its LastModified may be later than the Date of its write's response."""

    @property
    def is_guarded(self) -> bool:
        """True if every object is looked at before it is changed."""
        return self.exact or self.backup is not None or self.fence is not None


class SourceBucket(NamedTuple):
    """The bucket that a transfer reads."""

    endpoint: Endpoint
    prefix: str
    """The text before each path in the source's keys."""
    copies: bool
    """True if one store has the source and the target, and so may copy. Elsewhere a bucket of that name is another one."""

    def with_credentials(self, credentials: Credentials) -> SourceBucket:
        """Return the same bucket, with these credentials."""
        return self._replace(endpoint=self.endpoint._replace(credentials=credentials))

    def key(self, path: str) -> str:
        """Return the key of the object at ``path``."""
        return self.prefix + path


class Tools:
    """The values that the coroutines of one worker share."""

    def __init__(self, brief: Brief) -> None:
        """Open nothing yet."""
        self.brief = brief
        self.source = SourceReader(brief.root, brief.symlinks)
        self.checks = Checks.from_endpoint(brief.endpoint)
        self.quirks = brief.quirks
        """The known quirks of the store, found by any worker."""
        self.news: list[Quirk | str] = []
        """The quirks found by this worker, and its warnings, which no result has reported yet. A warning is a line."""
        self.acl_refused = False
        """The bucket has ACLs disabled: stop sending them."""
        self.copies = CopyFindings()
        self.tags = TagFindings()
        self.compares_times = brief.compares_times
        """Nothing has been written yet; see :class:`Brief`."""
        self.verdicts: dict[tuple[Any, ...], bool] = {}
        """Whether objects with these headers have their attributes, see :mod:`s3batch.worker.bulk`."""
        self.forms: dict[str, HeadForms] = {}
        """Forms of answers to HEAD, by fingerprint; a quirk that is found later makes none of them wrong."""
        self.buffers = Buffers()
        """Memory for large pieces of content."""
        self.memory: dict[str, Any] = {}
        """Values that extensions keep between operations."""
        self.writes: WriteGate | None = None
        """Closed while the coordinator is silent: a local file is changed no more, either."""

    def with_brief(self, brief: Brief) -> Tools:
        """Return the same tools for another brief; what they learn later is their own."""
        import copy  # noqa: PLC0415 - only a verify that reads objects back needs it

        other = copy.copy(self)
        other.brief = brief
        other.copies, other.tags = copy.copy(self.copies), copy.copy(self.tags)
        return other

    @property
    def endpoint(self) -> Endpoint:
        """The address of the bucket."""
        return self.brief.endpoint

    def learn(self, quirks: Quirks) -> None:
        """Ask in the way that these want as well."""
        self.quirks = self.quirks.with_all(quirks)
        self.verdicts.clear()

    def note(self, quirk: Quirk) -> bool:
        """Keep a quirk for the next result; return whether it is new."""
        if self.quirks.has(quirk.kind, quirk.about):
            return False
        self.quirks = self.quirks.plus([quirk])
        self.verdicts.clear()
        self.news.append(quirk)
        return True

    def warn(self, words: str) -> None:
        """Have the job warn of this, with the next result."""
        self.news.append(" ".join(words.splitlines()))

    def drop_acl(self, request: Request) -> Request:
        """Return a request without its ACL, which the bucket refuses. From now on no request has one."""
        self.acl_refused = True
        self.warn(_ACL_WARNING)
        return request._replace(headers={name: value for name, value in request.headers.items() if name != "x-amz-acl"})

    def add_news(self, result: Result) -> Result:
        """Return ``result`` with the quirks and warnings that were not reported yet."""
        if not self.news:
            return result
        quirks = tuple(each for each in self.news if isinstance(each, Quirk))
        warnings = (each for each in self.news if isinstance(each, str))
        warning = "\n".join(filter(None, (result.warning, *warnings)))
        self.news.clear()
        return result._replace(warning=warning, quirks=quirks)

    def note_refusal(self, name: str, fault: Fault, consequence: str) -> None:
        """Note that the store permanently refuses an optional request of this name, and warn of it the first time."""
        if self.note(Quirk(QuirkKind.REFUSED, name, f"HTTP {fault.status} {fault.code}")):
            self.warn(refusal_words(name, fault.code, fault.message, consequence))

    def attributes(self, operation: Operation) -> Attributes:
        """Return the attributes of the object of this operation's file."""
        wanted = self.brief.rules.attributes(operation.path)
        if wanted.preserve:
            wanted = wanted._replace(preserved=self._read_preserved(operation, wanted.preserve))
        return wanted._replace(acl="") if self.acl_refused and wanted.acl else wanted

    def _read_preserved(self, operation: Operation, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """Return the metadata of an operation's file. Raises ContentError if it is not the planned one."""
        from s3batch.objects.preserved import encode_preserved  # noqa: PLC0415 - few jobs keep any

        if names == ("mtime",):
            return encode_preserved(names, operation.stamp.mtime_ns)
        info = self.source.look(operation.path, operation.stamp)
        return encode_preserved(names, info.st_mtime_ns, info.st_mode, info.st_uid, info.st_gid)


def prepare_worker(brief: Brief, count: int, content: int) -> None:
    """Load modules that each worker needs, before they are forked, for ``count`` works with so many bytes of content."""
    if brief.source is not None and brief.source.copies:
        import s3batch.worker.plain_transfer  # noqa: PLC0415 - few jobs are transfers
        import s3batch.worker.transfer  # noqa: PLC0415 - as above
    elif brief.target is not None:
        import s3batch.worker.plain_fetch  # noqa: F401, PLC0415 - few jobs are downloads
    if count * _SIGNED_TEXT + content > hashes.FEW:
        hashes.load_openssl()
    if brief.sends and content > checksums.FEW:
        checksums.load_checksum(Checks.from_endpoint(brief.endpoint).name)
