"""Settling: the outcomes of operations and of their parts, written in one transaction.

A result concerns its whole operation or, while a multipart upload is under way, one step of it. A step that failed
permanently has failed its operation.
"""

from __future__ import annotations

from collections.abc import Sequence

from s3batch.journal import rows
from s3batch.journal.database import Database, make_bindable
from s3batch.journal.specs import encode_spec
from s3batch.model import DONE, WHOLE, OperationSpec, Result, State, Step, WrittenVersion, shorten_result

_BECOME = """
UPDATE operation SET kind = ?, reason = coalesce(?, reason), detail = coalesce(CAST(nullif(?, '') AS TEXT), detail),
    attempts = CASE WHEN state = 'pending' AND error = '' THEN 0 ELSE attempts END
WHERE id = ?
"""
"""A comparison does not count as an attempt of the operation that follows from it."""

_SETTLE_PART = """
UPDATE part SET state = ?, etag = ?, checksum = ?, attempts = attempts + 1 WHERE operation = ? AND number = ?
"""
_SET_STAMP = "UPDATE operation SET mtime_ns = ?, ctime_ns = ?, device = ?, inode = ? WHERE id = ?"
_SET_SPEC = "UPDATE operation SET detail = ? WHERE id = ?"
_SET_VERSION = "UPDATE operation SET version_id = ?, previous_version_id = nullif(?, '') WHERE id = ?"
CHANGED = "Changed"
"""The code of a file that is not, or not yet, the one that was planned."""
UNCHANGED = "kind = 'reconcile' AND state = 'skipped' AND error = ''"
"""A worker compared it and there was nothing to do: no operation, but an unchanged file."""


def settle_outcomes(
    store: Database, outcomes: list[tuple[State, Result]], before: Sequence[int] = ()
) -> tuple[int, int]:
    """Record outcomes; return how many reconciled files are unchanged, and how many operations are closed.

    Writes of the jobs ``before``, which this one continues, count as sent by them and not as unchanged.
    """
    stamped = [(*rows.make_stamp_values(each.stamp), each.id) for _, each in outcomes if each.stamp is not None]
    store.execute_many(_SET_STAMP, stamped)
    done = [shorten_result(result) for state, result in outcomes if state is DONE and _is_all_said(result)]
    store.execute_many(rows.SETTLE_DONE, done)
    if told := [(each.spec, each.id) for state, each in outcomes if each.spec is not None and state is DONE]:
        _settle_told(store, told)
    if len(done) == len(outcomes):
        return 0, len(done)
    others = [each for each in outcomes if not (each[0] is State.DONE and _is_all_said(each[1]))]
    unchanged, closed = _settle_others(store, others, before)
    return unchanged, closed + len(done)


def _settle_told(store: Database, told: list[tuple[OperationSpec | WrittenVersion, int]]) -> None:
    """Record what done operations tell beside their outcome: version ids, and specs."""
    versions = [(spec, row) for spec, row in told if isinstance(spec, WrittenVersion)]
    store.execute_many(_SET_VERSION, [(each.written, each.before, row) for each, row in versions])
    specs = [(spec.spec if isinstance(spec, WrittenVersion) else spec, row) for spec, row in told]
    store.execute_many(_SET_SPEC, [(make_bindable(encode_spec(spec)), row) for spec, row in specs if spec is not None])


def _settle_others(store: Database, outcomes: list[tuple[State, Result]], before: Sequence[int]) -> tuple[int, int]:
    """Record the other outcomes: retries, failures, comparisons, steps of multipart uploads."""
    whole = [outcome for outcome in outcomes if _is_about_all_of_it(*outcome)]
    values = [rows.make_result_values(state, result, is_attempt=_is_attempt(result)) for state, result in whole]
    store.execute_many(rows.SETTLE, values)
    _settle_changed_kinds(store, [result for _, result in whole if result.become is not None])
    _settle_finished(store, [(result.id,) for state, result in whole if _is_finished(state, result)])
    _settle_parts(store, [(state, result) for state, result in outcomes if result.step is Step.PART])
    _settle_surveys(store, [result for _, result in outcomes if result.step is Step.SURVEY])
    closed = sum(state is not State.PENDING for state, _ in whole)
    return _count_unchanged(store, [result.id for state, result in whole if state is State.SKIPPED], before), closed


def _settle_changed_kinds(store: Database, results: list[Result]) -> None:
    """Record the kinds that reconciled operations turned out to be."""
    kinds = [
        (rows.KIND_TEXT[each.become], each.reason and each.reason.value, make_bindable(_encode_new_spec(each)), each.id)
        for each in results
        if each.become
    ]
    store.execute_many(_BECOME, kinds)


def _encode_new_spec(result: Result) -> str:
    """Return the text of the spec that an operation gets; empty: it keeps its own."""
    return encode_spec(result.spec.spec if isinstance(result.spec, WrittenVersion) else result.spec)


def _settle_finished(store: Database, finished: list[tuple[int]]) -> None:
    """Forget the multipart uploads that S3 has completed."""
    store.execute_many("UPDATE operation SET upload_id = '' WHERE id = ?", finished)
    store.execute_many("DELETE FROM part WHERE operation = ?", finished)


def _settle_parts(store: Database, outcomes: list[tuple[State, Result]]) -> None:
    store.execute_many(
        _SETTLE_PART,
        [(rows.STATE_TEXT[state], result.etag, result.checksum, result.id, result.part) for state, result in outcomes],
    )
    store.execute_many(
        "UPDATE operation SET bytes = bytes + ? WHERE id = ?",
        [(result.sent, result.id) for state, result in outcomes if result.sent and state is not State.FAILED],
    )


def _settle_surveys(store: Database, results: list[Result]) -> None:
    """Mark the parts that S3 says it holds."""
    store.execute_many(
        "UPDATE part SET state = 'done', etag = ?, checksum = ? WHERE operation = ? AND number = ?",
        [(part.etag, part.checksum, result.id, part.number) for result in results for part in result.parts],
    )


def _count_unchanged(store: Database, skipped: list[int], before: Sequence[int]) -> int:
    if not skipped:
        return 0
    marks, jobs = ", ".join(map(str, skipped)), ", ".join(map(str, before))
    sent = f"EXISTS (SELECT 1 FROM object WHERE object.key = operation.key AND writer IN ({jobs}))"  # noqa: S608
    query = f"SELECT count(*) FROM operation WHERE id IN ({marks}) AND {UNCHANGED} AND reason <> 'late' AND NOT {sent}"  # noqa: S608
    return int(store.value(query))


def _is_about_all_of_it(state: State, result: Result) -> bool:
    """Return whether an outcome is that of its operation, not only of a step. A permanently failed step counts as such."""
    match result.step:
        case Step.WHOLE | Step.FINISH:
            return True
        case Step.PART:
            return state is State.FAILED
        case Step.BEGIN | Step.SURVEY:
            return bool(result.error)
    return False


def _is_all_said(result: Result) -> bool:
    """Return whether a result of a done operation is complete, with no other kind to become and no error to record."""
    return result.step is WHOLE and result.become is None and not (result.error or result.code or result.status)


def _is_finished(state: State, result: Result) -> bool:
    return state is State.DONE and result.step is Step.FINISH


def _is_attempt(result: Result) -> bool:
    """Return whether a try counts: waiting until a file is at rest, or until the store has time, does not."""
    return result.code != CHANGED and not result.uncounted
