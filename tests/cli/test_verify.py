"""``s3batch verify`` on the command line: nothing is compared with settings that make no sense."""

from __future__ import annotations

import pytest

from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, Stored

NOBODY = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["gone", "s3://b"], "source 'gone' (from argument SOURCE) does not exist", id="no source"),
        pytest.param(["."], "bucket is missing; write s3batch verify SOURCE s3://BUCKET/PREFIX", id="no bucket"),
        pytest.param([".", "s3://b", "--dry-run"], "verify takes no --dry-run", id="a flag that means nothing here"),
        pytest.param([".", "s3://b", "--acl", "pubic"], "acl cannot be 'pubic' (from --acl)", id="a wrong value"),
    ],
)
def test_bad_input_is_exit_code_2(call, arguments, sentence):
    answer = call("verify", *arguments, env=NOBODY)

    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err


def test_a_store_that_is_not_there_is_exit_code_4_and_no_difference(call, workspace):
    (workspace / "a").write_text("x")

    answer = call("verify", ".", "s3://b", "--json", env=NOBODY, S3BATCH_RETRIES="1")

    assert (answer.code, answer.json["exit_code"], answer.json["command"]) == (4, 4, "verify")
    assert answer.json.get("differences", []) == []


@pytest.mark.parametrize(
    ("words", "compared"),
    [
        pytest.param(["tree", "s3://b/p"], 1, id="files with objects"),
        pytest.param(["s3://b/p", "tree"], 0, id="objects with files"),
        pytest.param(["s3://b/p", "s3://c/p"], 0, id="objects with objects"),
    ],
)
@pytest.mark.parametrize("code", ["ExpiredToken", "AccessDenied"])
def test_only_what_was_compared_counts(call, workspace, words, compared, code):
    (workspace / "tree").mkdir()
    (workspace / "tree" / "new").write_bytes(b"new")
    refused = Reply(400 if code == "ExpiredToken" else 403, body=f"<Error><Code>{code}</Code></Error>".encode())
    with FakeS3() as fake:
        for number in range(3):
            (workspace / "tree" / f"{number}").write_bytes(b"content")
            for bucket in "bc":
                fake.objects.setdefault(bucket, {})[f"p/{number}"] = Stored(b"content", f'"{bucket * 32}-2"', {})
        fake.meddle = lambda request: None if request.name == "ListObjectsV2" else refused
        keys = {"AWS_ENDPOINT_URL": fake.url, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        said, document = call("verify", *words, env=keys), call("verify", *words, "--json", env=keys).json

    line = said.err.splitlines()[-1]
    assert line.startswith(f"{compared} file{'s' * (compared != 1)} compared: ")
    assert line.endswith("not everything was compared" if said.code == 4 else "3 could not be compared")
    assert "no difference" not in line
    assert "resume" not in said.err  # a verify leaves nothing to resume
    assert (document["compared"], document["unchanged"]) == (compared, 0)


@pytest.mark.parametrize("words", [["s3://b/p", "tree"], ["s3://b/p", "s3://c/p"], ["tree", "s3://b/p"]])
def test_it_says_nothing_of_deletes_where_something_could_not_be_compared(call, workspace, words):
    (workspace / "tree").mkdir()
    with FakeS3() as fake:
        for bucket in "bc":
            for key in ("p/a", "p/b//c"):
                fake.objects.setdefault(bucket, {})[key] = Stored(b"content", f'"{bucket * 32}-2"', {})
        fake.meddle = lambda request: None if request.name == "ListObjectsV2" else Reply(403)
        keys = {"AWS_ENDPOINT_URL": fake.url, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        (workspace / "tree" / "a").write_bytes(b"content")

        answer = call("verify", *words, "--json", env=keys)

    assert (answer.code, bool(answer.json["failures"])) == (1, True)
    assert answer.json["warnings"] == []


def test_it_leaves_no_journal_behind(call, workspace, tmp_path):
    (workspace / "a").write_text("x")

    call("verify", ".", "s3://b", env=NOBODY, S3BATCH_RETRIES="1")

    assert not list((tmp_path / "state").rglob("*.db"))
    assert sorted(path.name for path in workspace.iterdir()) == ["a"]
