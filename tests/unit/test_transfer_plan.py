"""The decisions of a transfer: values in, an operation or nothing out."""

from __future__ import annotations

import pytest

from s3batch.base.errors import SettingsError
from s3batch.commands.sync.transfer_job import BegunListing
from s3batch.model import (
    Attributes,
    Kind,
    KnownObject,
    ListedObject,
    Operation,
    Reason,
    SourceObject,
    Stage,
    stamp_of_object,
)
from s3batch.plan.transfer_plan import ListedEntry, TransferRowCheck, decide_transfer, select_entries
from s3batch.plan.transfer_spec import TransferSpec
from s3batch.settings.table import Settings

PLAIN = Attributes().fingerprint()
SOURCE = ListedEntry("a.txt", 5, "e1", 1000.0)
LISTED = ListedObject("to/a.txt", 5, "t1", 2000.0)
KNOWN = KnownObject("t1", 5, stamp_of_object(5, "e1", 1000.0), 2000.0, PLAIN, "")
NOTHING, MISSING, CONTENT, COMPARE = None, "missing", "content", "unknown"


@pytest.mark.parametrize(
    ("listed", "known", "fingerprint", "expected"),
    [
        pytest.param(None, None, PLAIN, MISSING, id="the target has none"),
        pytest.param(LISTED, KNOWN, PLAIN, NOTHING, id="both as after our write"),
        pytest.param(LISTED._replace(size=6), KNOWN, PLAIN, CONTENT, id="another size"),
        pytest.param(LISTED._replace(etag="e1"), None, PLAIN, NOTHING, id="the same ETag, nothing known"),
        pytest.param(LISTED._replace(etag="e1"), None, "other", COMPARE, id="the same ETag, attributes are set"),
        pytest.param(LISTED, None, PLAIN, COMPARE, id="another ETag, nothing known"),
        pytest.param(LISTED._replace(etag=""), None, PLAIN, COMPARE, id="no ETag in the target"),
        pytest.param(LISTED, KNOWN._replace(fingerprint="other"), PLAIN, COMPARE, id="other attributes"),
        pytest.param(LISTED._replace(modified=2005.0), KNOWN, PLAIN, COMPARE, id="written by another since"),
        pytest.param(
            LISTED, KNOWN._replace(local=stamp_of_object(5, "e0", 1000.0)), PLAIN, COMPARE, id="the source had another ETag"
        ),
        pytest.param(
            LISTED, KNOWN._replace(local=stamp_of_object(5, "e1", 999.0)), PLAIN, COMPARE, id="the source was written again"
        ),
    ],
)  # fmt: skip
def test_the_decision(listed, known, fingerprint, expected):
    found = decide_transfer(SOURCE, "to/a.txt", listed, known, fingerprint, stage=Stage.MAIN, streamed=False)

    assert (found.reason.value if found else None) == expected
    if found:
        assert found.kind is (Kind.RECONCILE if expected == COMPARE else Kind.TRANSFER)
        assert (found.spec, found.path, found.size) == (SourceObject("e1"), "a.txt", 5)


def test_two_objects_without_an_etag_are_compared():
    source, listed = SOURCE._replace(etag=""), LISTED._replace(etag="")

    found = decide_transfer(source, "to/a.txt", listed, None, PLAIN, stage=Stage.MAIN, streamed=True)

    assert found is not None
    assert (found.kind, found.spec) == (Kind.RECONCILE, SourceObject("", streamed=True))


def spec(**values) -> TransferSpec:
    settings = Settings(bucket="b", target="to", **{"source": "s3://from/in", **values})
    return TransferSpec.from_settings(settings)


def test_own_keys_the_marker_and_excluded_keys_stay_out():
    keys = ["in/", "in/a.txt", "in/.s3batch/manifest", "in/x/.s3batch/cache", "in/b.log", "in/dir/", "in/.s3batch-not"]

    found = select_entries([ListedObject(key, 0, "e", 0.0) for key in keys], spec(exclude=("*.log",)))

    assert [each.path for each in found] == ["a.txt", "dir/", ".s3batch-not"]


@pytest.mark.parametrize(("name", "value"), [("gzip", "*.html"), ("strip_prefix", "a/")])
def test_settings_of_files_are_refused(name, value):
    with pytest.raises(SettingsError, match=name):
        spec(**{name: value})


GOOD = Operation(Kind.TRANSFER, "to/a.txt", Reason.MISSING, "a.txt", 5, spec=SourceObject("e1"), id=7)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(GOOD._replace(key="to/b.txt"), id="the key of another path"),
        pytest.param(GOOD._replace(kind=Kind.UPLOAD, spec=None), id="an upload"),
        pytest.param(GOOD._replace(spec=None), id="without a source object"),
        pytest.param(GOOD._replace(path=".s3batch/x", key="to/.s3batch/x"), id="an own key"),
        pytest.param(GOOD._replace(path="a.log", key="to/a.log"), id="an excluded key"),
        pytest.param(GOOD._replace(kind=Kind.DELETE, key="other/x"), id="a delete outside"),
    ],
)
def test_rows_that_no_plan_makes_are_refused(row):
    check = TransferRowCheck(spec(exclude=("*.log",), delete=True))

    assert check.admit(GOOD) == GOOD
    assert check.admit(GOOD._replace(kind=Kind.RECONCILE)).kind is Kind.RECONCILE
    with pytest.raises(ValueError, match=r"\w"):
        check.admit(row)


@pytest.mark.parametrize(("seconds", "fresh"), [(0.0, True), (4.9, True), (5.0, False), (60.0, False)])
def test_the_page_of_the_check_of_the_source_is_used_while_it_is_fresh(seconds, fresh):
    assert BegunListing(iter(()), 100.0).is_fresh(100.0 + seconds) == fresh
