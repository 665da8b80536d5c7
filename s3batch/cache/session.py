"""One job of the cache, for restore and rebuild, with its journal, its bucket and its workers."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from s3batch.archive.local_state import load_state, read_state, save_state
from s3batch.archive.paths import KEEP, is_below, is_inside
from s3batch.archive.places import FOLLOW, FOLLOW_INSIDE, look_at_links
from s3batch.archive.scan import scan_tree
from s3batch.archive.validate import Limits
from s3batch.cache.local_chunks import open_local
from s3batch.cache.object_names import title_of_key
from s3batch.cache.path_lock import PathLock
from s3batch.coordinator import stale_uploads
from s3batch.coordinator.job_setup import build_executor
from s3batch.coordinator.multipart import MultipartUploads
from s3batch.errors import EndpointError, JobFailedError, S3BatchError
from s3batch.executors.local import LocalExecutor, count_usable_cpus
from s3batch.files import private
from s3batch.files.private import OWN_DIRECTORY, SIDE_FILES
from s3batch.model import JobState, Kind, Operation, Reason, Stage, stamp_of
from s3batch.objects.attributes import AttributeRules
from s3batch.reporting.progress import Totals
from s3batch.s3.bucket import Bucket
from s3batch.s3.errors import UNREACHABLE
from s3batch.s3.store_clock import elapsed_seconds
from s3batch.settings.table import Settings
from s3batch.units import format_plural
from s3batch.worker.context import Brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from s3batch.archive.local_state import EncodedState, LocalState
    from s3batch.archive.places import ListedLinks, Places
    from s3batch.archive.scan import ScannedTree, ScanProblem
    from s3batch.cache.local_chunks import LocalChunks
    from s3batch.cache.naming import CacheObjects
    from s3batch.coordinator.coordinator import Coordinator
    from s3batch.coordinator.job_runner import JobRunner
    from s3batch.executors import Executor
    from s3batch.model import Result
    from s3batch.reporting.progress import Progress

_IN_FLIGHT_PER_WORKER = 4
"""Chunks of some MiB: enough to overlap making, sending and waiting; more would only hold memory."""


@dataclass(slots=True)
class _RoundResults:
    """The results of one round of work, and their number of files."""

    files_of: Mapping[str, int]
    progress: Progress
    totals: Totals
    results: list[Result] = field(default_factory=list)

    def take(self, operation: Operation, result: Result) -> None:
        self.results.append(result)
        self.totals.files_done += self.files_of[operation.key]
        self.totals.bytes_done += operation.size

    def update(self, totals: Totals) -> None:
        """Show files, where the coordinator counts chunks."""
        self.totals.failed = totals.failed
        self.progress.update(self.totals)

    def close(self) -> None:
        self.progress.close()


@dataclass
class CacheSession:
    """One run of a cache command that works on files."""

    runner: JobRunner
    names: CacheObjects
    own: str
    """The directory of s3batch's own files."""
    began: float = field(default_factory=elapsed_seconds)
    """Local seconds when the run began, before its first request."""
    plan: list[dict[str, str]] = field(default_factory=list)
    """The operations of a dry run, for its JSON document."""

    local: LocalChunks | None = None
    """The directory of the runner that keeps chunks, if it is set and of use."""
    _said: set[str] = field(default_factory=set)
    _early: Executor | None = None
    """Workers that are starting."""

    def __post_init__(self) -> None:
        self.settings, self.output, self.journal = self.runner.settings, self.runner.output, self.runner.journal
        self.workspace = self.settings.at_workspace(".")
        self.listed = self.names.listed
        self.base = self.names.base
        digest = _digest_texts(self.workspace, *self.listed.texts)
        stem = os.path.join(self.own, f"cache-{digest}")
        self.path_lock = PathLock(self.own, digest, self.listed.texts)
        self.state_path = f"{stem}.state"
        self.undo_path = f"{stem}.undo"
        # the journal's holder is alone with it; two caches of the same paths may run at once
        self.plan_path = f"{stem}-{_digest_texts(self.journal.path)}.{self.settings.command.rpartition(' ')[2]}"
        self.distrust_path = f"{stem}.distrust"
        self.reject_paths = {key: f"{stem}-{_digest_texts(key)}.reject" for key in self.names.owns}

    def begin(self) -> None:
        """Begin a job in the journal. Results of an earlier one are found by a look, not by its operations."""
        self.journal.check_rows(self._admit, self._owns)
        self.runner.begin(self.workspace, f"{self.settings.bucket}/{self.base}")
        for _ in self.journal.jobs.take_over():
            pass
        self.journal.jobs.set_state(JobState.RUNNING)
        for warning in (*self.names.warnings, *self._open_local()):
            self.warn(warning)

    def _admit(self, operation: Operation) -> Operation:
        """Return the operation of a row of an earlier run; ValueError if it reads another file than the plan."""
        if operation.kind is Kind.CHUNK and operation.path != self.plan_path:
            raise ValueError(f"its path {operation.path!r} is not the plan of this step")
        if operation.kind is not Kind.CHUNK and os.path.basename(operation.path) != operation.path:
            raise ValueError(f"its path {operation.path!r} is no file of this step")
        return operation

    def _owns(self, key: str) -> bool:
        """Return whether a key may be one of this cache, or of the old format it writes."""
        return key.startswith(self.base) or bool(self.settings.compat)

    def warn(self, text: str) -> None:
        """Print a warning once, and keep it for the report."""
        if text not in self._said:
            self._said.add(text)
            self.output.warn(text)
            self.journal.jobs.warn(text)

    @property
    def owners(self) -> bool:
        """True if owners are kept and restored: only root can."""
        return self.settings.owner != "none" and os.geteuid() == 0

    def warn_of_lost(self, **counts: int) -> None:
        """Warn once of attributes that files have and no cache keeps."""
        said = [
            f"{name.replace('_', ' ')} of {format_plural(count, 'file')}" for name, count in counts.items() if count
        ]
        if said:
            self.warn(f"the cache does not keep {', '.join(said)}")

    def warn_of_foreign(self, directories: list[str]) -> None:
        """Say once that directories that belong to someone else kept their mode and time."""
        if directories:
            count = format_plural(len(directories), "directory", "directories")
            self.warn(f"cannot set mode and time of {count}, such as {min(directories)}: it belongs to another user")

    def refuse_incomplete(self, problems: Sequence[ScanProblem]) -> None:
        """Raise if paths cannot be read and ``fail_on_error`` is set; else warn of each."""
        if problems and self.settings.fail_on_error:
            first, count = problems[0], format_plural(len(problems), "path")
            raise JobFailedError(
                f"{count} cannot be read, such as {first.path}: {first.error}; the cache stays as it was",
                hint="make it readable, or exclude it",
            )
        for problem in problems:
            self.warn(f"{problem.path} is not cached: {problem.error}")

    def tell(self, operation: Operation) -> None:
        """Print a line of the plan of a dry run."""
        if self.settings.json:
            self.plan.append({"operation": operation.kind, "key": operation.key, "reason": operation.reason})
        else:
            self.output.data(f"{operation.kind} {operation.key} {operation.reason}")

    def title(self, key: str) -> str:
        """Return the name of a key object for people."""
        return title_of_key(self.base, key)

    def limits(self) -> Limits:
        """Return the limits of an archive."""
        return Limits(total=self.settings.max_size) if self.settings.max_size else Limits()

    def own_directories(self) -> tuple[str, ...]:
        """Return the directories of s3batch's own files: in the workspace, and the one in use if that is another."""
        return os.path.join(self.workspace, OWN_DIRECTORY), self.own

    def scan(self, roots: Sequence[str], places: Places, *, symlinks: str = KEEP) -> ScannedTree:
        """Walk paths, as a rebuild or a restore of this step sees them."""
        return scan_tree(
            self.workspace, roots, own=self._own_files(roots, places), exclude=self.names.exclude, symlinks=symlinks,
            owners=self.owners, places=places,
        )  # fmt: skip

    def look_at_links(self, roots: Sequence[str] = (), *, restoring: bool) -> ListedLinks:
        """Decide which of the listed links are followed; ``roots`` are all paths of the cache."""
        names, own = self.listed.names, self.own_directories()
        return look_at_links(
            self.workspace, names, roots or names, self._link_policy, own, restoring=restoring
        )  # fmt: skip

    def within(self) -> Callable[[str], bool]:
        """Return a function that tells if a restore of this step may have changed a path."""
        places = self.look_at_links(restoring=True).places
        return lambda path: self.listed.covers(path) or places.covers(path)

    @property
    def _link_policy(self) -> str:
        """The policy for listed links; in an untrusted build they lead nowhere outside."""
        policy, build = self.settings.root_symlinks, self.settings.build
        stranger = self.names.untrusted or (build is not None and bool(build.fork))
        return FOLLOW_INSIDE if policy == FOLLOW and stranger else policy

    @property
    def link_hint(self) -> str:
        """The hint where a listed link is not followed."""
        if self.settings.root_symlinks == FOLLOW and not self.follows_all:
            return "a pull request never follows links out of the workspace"
        return "write root_symlinks: follow, or keep to cache the link itself"

    @property
    def follows_all(self) -> bool:
        """True if a listed link is followed wherever it leads."""
        return self._link_policy == FOLLOW

    def _own_files(self, roots: Sequence[str], places: Places) -> tuple[str, ...]:
        """Return s3batch's own files below a cached path: they are not part of the cache."""
        local = self.settings.at_workspace(os.path.join(self.settings.local_dir, OWN_DIRECTORY))
        ours = [*self.own_directories(), local, *(self.journal.path + end for end in ("", *SIDE_FILES))]
        below = [os.path.relpath(path, self.workspace) for path in ours if is_inside(path, self.workspace)]
        behind = [name for path in ours for name in places.known_as(os.path.realpath(path))]
        return tuple(path for path in (*ours, *below, *behind) if is_below(path, frozenset(roots)))

    def reject(self, key: str) -> None:
        """Note that the object under a key is not a valid cache. ``override: false`` does not keep it under an own key."""
        if key in self.reject_paths and not self.settings.dry_run:
            _write_state_file(self.reject_paths[key], "what is under our key is no cache\n")

    def is_rejected(self, key: str) -> bool:
        """Return True if there is such a note."""
        return key in self.reject_paths and private.file_exists(self.reject_paths[key])

    def distrust(self) -> None:
        """Note that the store lost or damaged a chunk: the next rebuild takes nothing there for stored."""
        _write_state_file(self.distrust_path, "a chunk could not be had\n")

    @property
    def distrusted(self) -> bool:
        """True if such a note exists."""
        return private.file_exists(self.distrust_path)

    def trust_again(self) -> None:
        """Remove the note: everything has been stored again, or exists."""
        for note in (self.distrust_path, *self.reject_paths.values()):
            with contextlib.suppress(FileNotFoundError):
                private.remove_file(note)

    def remembered(self) -> EncodedState | None:
        """Return the state of an earlier step."""
        return read_state(self.state_path, self.limits())

    def state(self) -> LocalState | None:
        """Return the decoded state, if it is within the limits of this step."""
        return load_state(self.state_path, self.limits())

    def remember(self, state: LocalState) -> None:
        """Save the state, so that a later step need not read every file. A failure to save is no error."""
        try:
            save_state(self.state_path, state)
        except OSError as error:
            self.warn(f"cannot write to {self.own}, so the next step reads every file: {error.strerror}")
        self.remove_plan()

    def remove_plan(self) -> None:
        """Delete the plan file."""
        with contextlib.suppress(FileNotFoundError):
            private.remove_file(self.plan_path)

    def encryption_headers(self) -> dict[str, str]:
        """Return the headers with which the store encrypts an object."""
        settings = self.settings
        key = {"x-amz-server-side-encryption-aws-kms-key-id": settings.kms_key_id} if settings.kms_key_id else {}
        return {"x-amz-server-side-encryption": settings.encryption, **key} if settings.encryption else {}

    def _open_local(self) -> list[str]:
        """Open the directory of chunks on the runner; return its problems."""
        settings = self.settings
        if not settings.local_dir or settings.dry_run or settings.lookup_only:
            return []
        self.local, trouble = open_local(settings.at_workspace(settings.local_dir), settings.local_max)
        return [trouble] if trouble else []

    @cached_property
    def bucket(self) -> Bucket:
        """The bucket, not yet contacted."""
        return self.runner.open_bucket(self.settings.bucket, self.warn)

    def close(self) -> None:
        """Let go of workers and bucket, and have its requests counted. Hold the local directory to its limit."""
        if self._early is not None:
            self._early.close()
        if self.local is not None:
            self.local.trim()
        if "bucket" in self.__dict__:
            self.runner.close_bucket(self.bucket)

    # --- workers ----------------------------------------------------------------------------

    def executor(self, function: Callable[..., Any]) -> Executor:
        """Return the executor whose workers run ``function`` for a chunk; processes start with the first work."""
        rules = AttributeRules.from_settings(Settings(), self.workspace)
        brief = Brief(
            endpoint=self.bucket.endpoint, root=self.workspace, rules=rules, extensions=((Kind.CHUNK, function),),
            sends=not self.settings.command.endswith("restore"),
        )  # fmt: skip
        return self._executor(brief)

    def start_early(self, function: Callable[..., Any]) -> None:
        """Start workers before the plan is known; :meth:`carry_out` uses them."""
        executor = self.executor(function)
        if isinstance(executor, LocalExecutor) and not self.settings.dry_run:
            executor.start()
            self._early = executor

    @property
    def processes(self) -> int:
        """The number of processes that share the work on this machine."""
        return self.settings.workers or count_usable_cpus()

    def _executor(self, brief: Brief) -> Executor:
        in_flight = self.settings.max_concurrency or _IN_FLIGHT_PER_WORKER * self.processes
        return build_executor(self.settings, brief, workers=self.processes, in_flight=in_flight)

    def carry_out(self, function: Callable[..., Any], operations: Mapping[Operation, int], phase: str) -> list[Result]:
        """Journal ``operations`` and have them done; return their results. Failures are in the journal.

        Each operation comes with its number of files.
        """
        totals = Totals(
            files_planned=sum(operations.values()), bytes_planned=sum(each.size for each in operations),
            planning=False, phase=phase, unit="files",
        )  # fmt: skip
        files_of = {operation.key: files for operation, files in operations.items()}
        heard = _RoundResults(files_of, self.runner.show_progress(), totals)
        executor, self._early = self._early or self.executor(function), None
        self._run(executor, list(operations), heard.take, progress=heard)
        return heard.results

    def failure(self, what: str, consequence: str = "") -> S3BatchError:
        """Return the error for the failed operations of this job, which ``what`` sums up.

        It is an EndpointError if no request of the job got a response: then nothing was sent.
        """
        failed = self.journal.outcomes.count_failed(Stage.DELETE)
        first = next(self.journal.outcomes.read_failures(1))
        more = f" (and {failed - 1} more)" if failed > 1 else ""
        words = f"{what}{more}: {first.error}{consequence}"
        done = sum(numbers["done"] for numbers in self.journal.outcomes.count_by_kind().values())
        if (
            done
            or self.bucket.reached
            or any(each.code not in UNREACHABLE for each in self.journal.outcomes.read_failures())
        ):
            return JobFailedError(words)
        return EndpointError(words, hint="check endpoint_url and the network")

    def upload(self, path: str, key: str, attributes: Settings) -> None:
        """Send a local file, in parts if it is large; its failure is in the journal."""
        (root, name), stamp = os.path.split(path), stamp_of(os.stat(path))
        rules = AttributeRules.from_settings(attributes, root)
        executor = self._executor(Brief(endpoint=self.bucket.endpoint, root=root, rules=rules))
        operation = Operation(Kind.UPLOAD, key, Reason.CONTENT, name, stamp.size, stamp)
        uploads = MultipartUploads(self.journal, self.settings.part_size, rules.fingerprint, lambda _: "")
        self._run(executor, [operation], lambda *_: None, uploads=uploads)
        stale_uploads.abort_stale_uploads(
            self.journal, self.bucket, lambda: stale_uploads.find_unclaimed_uploads(self.journal, self.bucket, key)
        )

    def _run(
        self, executor: Executor, operations: list[Operation], heard: Callable[[Operation, Result], None],
        *, progress: Progress | None = None, uploads: MultipartUploads | None = None,
    ) -> None:  # fmt: skip
        opened = self.runner.open_coordinator(
            executor, self.bucket.login, heard, progress=progress, uploads=uploads, warn=self.warn
        )
        with opened as coordinator:
            coordinator.run(Stage.MAIN, _add_in_batches(coordinator, operations))


def _write_state_file(path: str, text: str) -> None:
    """Write a file of the state. If there is no room for it, the next restore finds the facts again."""
    with contextlib.suppress(OSError):
        private.write_private_note(path, text)


def _digest_texts(*texts: str) -> str:
    # 48 bits tell the few files of a directory apart
    return hashlib.blake2b(os.fsencode("\0".join(texts)), digest_size=6).hexdigest()


def _add_in_batches(coordinator: Coordinator, operations: list[Operation]) -> Iterator[None]:
    for at in range(0, len(operations), 100):
        coordinator.add(operations[at : at + 100])
        yield
