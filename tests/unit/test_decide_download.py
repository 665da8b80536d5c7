"""The decision for one object of a download, and the check of rows that an earlier run left."""

from __future__ import annotations

import os

import pytest

from s3batch.model import Kind, KnownObject, ListedObject, Operation, Reason, stamp_of
from s3batch.plan.decide_download import decide_download
from s3batch.plan.download_row_check import DownloadRowCheck
from s3batch.plan.download_spec import DownloadSpec
from s3batch.settings.table import Settings

LISTED = ListedObject("p/f", 4, "etag", 1000.25)


@pytest.fixture
def found(tmp_path) -> os.stat_result:
    (tmp_path / "f").write_bytes(b"1234")
    return os.stat(tmp_path / "f")


def known(found: os.stat_result, **changes) -> KnownObject:
    return KnownObject("etag", 4, stamp_of(found), 1000.0, "", "")._replace(**changes)


def test_a_file_and_an_object_as_they_were_need_nothing(found):
    assert decide_download(LISTED, known(found), "f", found) is None


@pytest.mark.parametrize(
    ("listed", "changes"),
    [
        pytest.param(LISTED._replace(etag="other"), {}, id="another ETag"),
        pytest.param(LISTED._replace(modified=1002.0), {}, id="written again since"),
        pytest.param(LISTED._replace(etag=""), {"etag": ""}, id="a store without ETags"),
        pytest.param(LISTED, {"size": 5}, id="another size then"),
    ],
)
def test_an_object_that_may_be_another_one_is_compared(found, listed, changes):
    operation = decide_download(listed, known(found, **changes), "f", found)

    assert operation is not None
    assert (operation.kind, operation.reason) == (Kind.RECONCILE, Reason.UNKNOWN)


def test_a_file_that_is_not_there_or_has_another_size_is_fetched(found, tmp_path):
    missing = decide_download(LISTED, None, "f", None)
    smaller = decide_download(LISTED._replace(size=3), None, "f", found)
    directory = decide_download(LISTED, None, "f", os.stat(tmp_path))

    assert missing == Operation(Kind.DOWNLOAD, "p/f", Reason.MISSING, "f", 4, etag="etag")
    assert [(each.kind, each.reason) for each in (smaller, directory)] == [(Kind.DOWNLOAD, Reason.CONTENT)] * 2


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        pytest.param(Operation(Kind.UPLOAD, "p/f", Reason.MISSING, "f"), "takes over no operation upload", id="upload"),
        pytest.param(Operation(Kind.DELETE, "p/f", Reason.ORPHAN, "f"), "takes over no operation delete", id="delete"),
        pytest.param(Operation(Kind.DOWNLOAD, "q/f", Reason.MISSING, "f"), "is not 'f'", id="a key of others"),
        pytest.param(Operation(Kind.DOWNLOAD, "p/f", Reason.MISSING, "../f"), "is not '../f'", id="another path"),
        pytest.param(Operation(Kind.DOWNLOAD, "p/../f", Reason.MISSING, "../f"), "no file '../f'", id="a way out"),
        pytest.param(Operation(Kind.DOWNLOAD, "p/.s3batch/f", Reason.MISSING, ".s3batch/f"), "no file", id="our own"),
        pytest.param(
            Operation(Kind.DOWNLOAD, "p/f", Reason.MISSING, "f", upload_id="../../f"), "no unfinished file", id="a planted name"
        ),
    ],
)  # fmt: skip
def test_a_row_that_no_plan_of_the_job_makes_is_refused(tmp_path, operation, words):
    settings = Settings(source="s3://b/p", target=str(tmp_path / "site"))
    check = DownloadRowCheck(DownloadSpec.from_settings(settings))

    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        check.admit(operation)


def test_a_row_of_the_jobs_plan_is_admitted(tmp_path):
    settings = Settings(source="s3://b/p", target=str(tmp_path / "site"))
    row = Operation(Kind.DOWNLOAD, "p/d/f", Reason.MISSING, "d/f", 4, upload_id="12-0123456789abcdef")

    assert DownloadRowCheck(DownloadSpec.from_settings(settings)).admit(row) == row
