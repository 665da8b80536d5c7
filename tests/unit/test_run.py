"""The doctor's pure part: how a bucket's own rules are read, and how findings become a table and an exit code."""

from __future__ import annotations

import pytest

from s3batch.commands.doctor.bucket_config import (
    LifecycleRule,
    ObjectLock,
    parse_lifecycle,
    parse_lock,
    parse_versioning,
)
from s3batch.commands.doctor.findings import Findings, RequestCheck, RequestOutcome
from s3batch.s3.faults import Fault

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def lifecycle(inner: str, *, status: str = "Enabled", namespace: str = NAMESPACE) -> list[LifecycleRule]:
    rule = f"<Rule><ID>r</ID><Status>{status}</Status>{inner}</Rule>"
    return parse_lifecycle(f"<LifecycleConfiguration{namespace}>{rule}</LifecycleConfiguration>".encode())


EXPIRES = "<Expiration><Days>30</Days></Expiration>"


@pytest.mark.parametrize(
    ("inner", "prefix", "narrowed"),
    [
        pytest.param("<Filter/>", "", False, id="an empty filter"),
        pytest.param("", "", False, id="none at all"),
        pytest.param("<Prefix>logs/</Prefix>", "logs/", False, id="the old form"),
        pytest.param("<Filter><Prefix>logs/</Prefix></Filter>", "logs/", False, id="the new form"),
        pytest.param("<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>", "", True, id="a tag"),
        pytest.param(
            "<Filter><And><Prefix>logs/</Prefix><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>",
            "logs/", True, id="a prefix and a size",
        ),
    ],
)  # fmt: skip
def test_what_a_lifecycle_rule_is_for(inner: str, prefix: str, narrowed: bool) -> None:
    [rule] = lifecycle(inner + EXPIRES)

    assert (rule.prefix, rule.narrowed, rule.expires) == (prefix, narrowed, "after 30 days")


@pytest.mark.parametrize(
    ("prefix", "target", "concerned"),
    [
        ("", "site/", True),
        ("site/", "site/", True),
        ("site/a/", "site/", True),
        ("si", "site/", True),
        ("site/", "", True),
        ("logs/", "site/", False),
        ("site2/", "site/", False),
    ],
)
def test_a_rule_concerns_a_target_when_one_prefix_begins_with_the_other(
    prefix: str, target: str, concerned: bool
) -> None:
    [rule] = lifecycle(f"<Prefix>{prefix}</Prefix>{EXPIRES}")

    assert rule.concerns(target) is concerned


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        pytest.param(EXPIRES, ["deletes every object after 30 days"], id="days"),
        pytest.param("<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>", ["on 2030-01-01"], id="a date"),
        pytest.param(
            "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>", [],
            id="delete markers only",
        ),
        pytest.param(
            "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>",
            ["moves every object to GLACIER after 1 day: caches there cannot be restored"], id="to a cold class",
        ),
        pytest.param("<Transition><Days>1</Days><StorageClass>GLACIER_IR</StorageClass></Transition>", [],
                     id="to one that is read at once"),
        pytest.param(
            "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation>"
            "</AbortIncompleteMultipartUpload>", ["aborts multipart uploads after 7 days"], id="unfinished uploads",
        ),
        pytest.param("<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration>", [],
                     id="old versions only"),
    ],
)  # fmt: skip
def test_a_rule_that_harms_is_warned_about(inner: str, words: list[str]) -> None:
    [rule] = lifecycle(inner)

    warnings = list(rule.warnings())

    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))


def test_a_rule_that_is_off_does_nothing() -> None:
    assert lifecycle(EXPIRES, status="Disabled") == []


def test_a_store_without_namespaces_is_understood() -> None:
    assert lifecycle(EXPIRES, namespace="")[0].expires == "after 30 days"


@pytest.mark.parametrize(
    ("inner", "lock"),
    [
        pytest.param("", ObjectLock(False, "", 0), id="none"),
        pytest.param("<ObjectLockEnabled>Enabled</ObjectLockEnabled>", ObjectLock(True, "", 0), id="no retention"),
        pytest.param(
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode>"
            "<Days>3</Days></DefaultRetention></Rule>", ObjectLock(True, "GOVERNANCE", 3), id="days",
        ),
        pytest.param(
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode>"
            "<Years>2</Years></DefaultRetention></Rule>", ObjectLock(True, "COMPLIANCE", 730), id="years",
        ),
    ],
)  # fmt: skip
def test_an_object_lock_is_read(inner: str, lock: ObjectLock) -> None:
    document = f"<ObjectLockConfiguration{NAMESPACE}>{inner}</ObjectLockConfiguration>"

    assert parse_lock(document.encode()) == lock


@pytest.mark.parametrize(("inner", "status"), [("", ""), ("<Status>Suspended</Status>", "Suspended")])
def test_versioning_is_read(inner: str, status: str) -> None:
    document = f"<VersioningConfiguration{NAMESPACE}>{inner}</VersioningConfiguration>"

    assert parse_versioning(document.encode()) == status


def check(outcome: RequestOutcome, **more: object) -> RequestCheck:
    return RequestCheck(needed_for="upload", call="PutObject", outcome=outcome, **more)  # type: ignore[arg-type]


DENIED = Fault("AccessDenied", "no", 403, "R1")


@pytest.mark.parametrize(
    ("checks", "code", "verdict"),
    [
        pytest.param([], 0, "all 0 needed requests work", id="nothing asked"),
        pytest.param([check(RequestOutcome.ALLOWED)], 0, "all 1 needed requests work", id="allowed"),
        pytest.param(
            [check(RequestOutcome.REFUSED, fault=DENIED)], 1, "1 of 1 needed requests do not work", id="refused"
        ),
        pytest.param([check(RequestOutcome.NO_EFFECT)], 1, "1 of 1 needed requests do not work", id="without effect"),
        pytest.param([check(RequestOutcome.NOT_TRIED)], 1, "1 of 1 needed requests do not work", id="not tried"),
        pytest.param(
            [check(RequestOutcome.REFUSED, needed=False)], 0, "all 0 needed requests work", id="refused, optional"
        ),
    ],
)
def test_the_exit_code_is_about_what_is_needed(checks: list[RequestCheck], code: int, verdict: str) -> None:
    found = Findings(checks=checks)

    assert (found.exit_code, found.verdict()) == (code, verdict)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (check(RequestOutcome.ALLOWED), "allowed"),
        (check(RequestOutcome.ALLOWED, needed=False), "allowed"),
        (
            check(RequestOutcome.REFUSED, fault=DENIED, permissions=("s3:PutObject",), hint="ask for it"),
            "refused: AccessDenied: no (HTTP 403, request R1); needs s3:PutObject; ask for it",
        ),
        (check(RequestOutcome.REFUSED, needed=False, fault=Fault("NoIdea", "")), "refused (optional): NoIdea"),
        (check(RequestOutcome.NO_EFFECT, words="it forgets"), "without effect: it forgets"),
        (check(RequestOutcome.NOT_TRIED, words="no probe", needed=False), "not tried (optional): no probe"),
    ],
)
def test_a_result_says_what_the_store_said_and_what_to_do(row: RequestCheck, words: str) -> None:
    assert row.result() == words


def test_table_and_document_hold_the_same() -> None:
    found = Findings(
        checks=[check(RequestOutcome.REFUSED, fault=DENIED, permissions=("s3:PutObject",))], warnings=["w"]
    )
    found.fact("lists_in_byte_order", True)
    found.fact("clock", None, "unknown")

    document = found.document({"bucket": "b"}, 1.23456)

    assert found.table() == [
        "needed for  call       result",
        "upload      PutObject  refused: AccessDenied: no (HTTP 403, request R1); needs s3:PutObject",
        "",
        "the store",
        "lists in byte order  yes",
        "clock                unknown",
    ]
    assert document == {
        "command": "doctor",
        "state": "failed",
        "exit_code": 1,
        "seconds": 1.235,
        "bucket": "b",
        "checks": [
            {
                "needed_for": "upload",
                "call": "PutObject",
                "needed": True,
                "outcome": "refused",
                "code": "AccessDenied",
                "status": 403,
                "request_id": "R1",
                "error": "AccessDenied: no",
                "permissions": ["s3:PutObject"],
                "hint": "",
            }
        ],
        "store": {"lists_in_byte_order": True, "clock": None},
        "quirks": [],
        "requests": {},
        "warnings": ["w"],
    }
