"""The operations of a saved plan that a job admits: only those that its own plan could have."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3batch.base.errors import SettingsError
from s3batch.commands.plans.plan_file import PlanWriter, read_plan
from s3batch.model import Kind, ListedObject, Operation, Reason, SourceObject, Stage, Stamp
from s3batch.plan.download_row_check import DownloadRowCheck, PlannedDownloadCheck
from s3batch.plan.download_spec import DownloadSpec
from s3batch.plan.transfer_plan import PlannedTransferCheck
from s3batch.plan.transfer_spec import TransferSpec
from s3batch.settings.table import Settings
from s3batch.worker.local_delete import encode_local_state
from tests.rig.stamps import stamp

STAMP = Stamp(size=5, mtime_ns=-3, ctime_ns=4, device=5, inode=6)
FETCH = Operation(Kind.DOWNLOAD, "in/d/a", Reason.MISSING, "d/a", 5, STAMP, etag="e1")
GONE = Operation(
    Kind.DELETE, "in/d/b", Reason.ORPHAN, "d/b", stage=Stage.DELETE, etag=encode_local_state(STAMP, 1)
)  # fmt: skip
COPY = Operation(Kind.TRANSFER, "out/d/a", Reason.CONTENT, "d/a", 5, etag="e1", spec=SourceObject("e0", streamed=True))


@pytest.fixture
def download(tmp_path: Path) -> PlannedDownloadCheck:
    settings = Settings(source="s3://b/in", target=str(tmp_path), delete=True, exclude=("*.log",))
    return PlannedDownloadCheck(DownloadSpec.from_settings(settings))


def test_a_download_admits_what_it_could_have_planned(download):
    assert [download.admit(each) for each in (FETCH, GONE)] == [FETCH, GONE]


@pytest.mark.parametrize("planted", [
    FETCH._replace(path="../a"), FETCH._replace(key="in/../a", path="../a"), FETCH._replace(key="else/d/a"),
    FETCH._replace(stage=Stage.DELETE), FETCH._replace(kind=Kind.RECONCILE), FETCH._replace(kind=Kind.UPLOAD),
    FETCH._replace(key="in/a.log", path="a.log"), FETCH._replace(key="in/.s3batch/a", path=".s3batch/a"),
    GONE._replace(key="in/../b", path="../b"), GONE._replace(key="in/other"), GONE._replace(stage=Stage.MAIN),
    GONE._replace(key="in/b.log", path="b.log"), GONE._replace(key="in/.s3batch/b", path=".s3batch/b"),
    GONE._replace(key="in/", path=""), GONE._replace(etag=""), GONE._replace(etag="e1"),
    GONE._replace(etag=encode_local_state(STAMP, 2)),
])  # fmt: skip
def test_a_download_refuses_anything_else(download, planted):
    with pytest.raises(ValueError, match=r"."):
        download.admit(planted)


def test_what_an_ignore_file_hides_by_now_is_left_to_the_job(tmp_path):
    """A resumed job skips it; an applied plan fetches it, and looks at a delete again before it begins to delete."""
    (tmp_path / ".s3batchignore").write_text("d/\n")
    wanted = DownloadSpec.from_settings(Settings(source="s3://b/in", target=str(tmp_path), delete=True))
    assert DownloadRowCheck(wanted).admit(FETCH) is None
    assert [PlannedDownloadCheck(wanted).admit(each) for each in (FETCH, GONE)] == [FETCH, GONE]


def test_without_delete_nothing_is_deleted(tmp_path):
    settings = Settings(source="s3://b/in", target=str(tmp_path))
    with pytest.raises(ValueError, match="does not delete"):
        PlannedDownloadCheck(DownloadSpec.from_settings(settings)).admit(GONE)


def test_a_transfer_admits_what_it_could_have_planned():
    settings = Settings(source="s3://b/in", bucket="c", target="out", exclude=("*.log",))
    check = PlannedTransferCheck(TransferSpec.from_settings(settings))
    assert check.admit(COPY) == COPY
    for planted in (
        COPY._replace(kind=Kind.RECONCILE), COPY._replace(kind=Kind.UPLOAD), COPY._replace(key="else/d/a"),
        COPY._replace(path="../a"), COPY._replace(key="out/a.log", path="a.log"), COPY._replace(spec=None),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            check.admit(planted)


def test_a_plan_file_gives_back_what_was_written(tmp_path):
    path = str(tmp_path / "plan")
    odd = FETCH._replace(stamp=stamp(inode=-(2**63), mtime_ns=-(2**63), ctime_ns=2**63 - 1))
    with PlanWriter(path) as writer:
        writer.begin({"made": "", "source": "", "target": "", "endpoint": "", "settings": {}})
        writer.add(FETCH, ListedObject(FETCH.key, 5, "e1", 7.5))
        writer.add(odd, ListedObject(FETCH.key, 5, "e1", 253_402_300_799.0))
        writer.add(GONE, None)
        writer.add(COPY, ListedObject(COPY.key, 4, "e1", 7.5))
        writer.finish({"files": 2, "bytes": 10, "unchanged": 0})
    planned = COPY._replace(spec=SourceObject("e0", streamed=True, target_ns=7_500_000_000))
    assert list(read_plan(path).operations()) == [FETCH, odd, GONE, planned]


def test_a_transfer_without_a_source_is_no_operation(tmp_path):
    path = str(tmp_path / "plan")
    with PlanWriter(path) as writer:
        writer.begin({"made": "", "source": "", "target": "", "endpoint": "", "settings": {}})
        writer.add(COPY._replace(spec=None), None)
        writer.finish({"files": 1, "bytes": 5, "unchanged": 0})
    with pytest.raises(SettingsError, match="a line is no operation"):
        read_plan(path)
