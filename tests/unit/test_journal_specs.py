"""The spec of an operation keeps the text that it always had on disk, and a planted text never becomes a spec."""

from __future__ import annotations

import pickle

import pytest

from s3batch.journal import Journal
from s3batch.journal.specs import decode_spec, encode_spec
from s3batch.model import (
    AttributesChanged,
    ChunkSpec,
    KeptAttributes,
    KeptTags,
    Kind,
    KnownAttributes,
    KnownContent,
    Operation,
    Reason,
    RedirectSpec,
    Result,
    SourceObject,
    Stage,
    State,
    UnreadableSpec,
    require_spec,
)

TAGS = (("team", "web"), ("ü", "1 = 2"))
TEXTS = [
    (Kind.REDIRECT, RedirectSpec("/new page"), "/new page"),
    (Kind.CHUNK, ChunkSpec(17, 3400, 3900), "17 3400 3900"),
    (Kind.RECONCILE, KnownContent(), "content-known"),
    (Kind.RECONCILE, AttributesChanged(), "attributes-changed"),
    (Kind.RECONCILE, KnownAttributes(""), "attributes-known"),
    (Kind.RECONCILE, KnownAttributes("q83vEg=="), "attributes-known q83vEg=="),
    (Kind.RECONCILE, KeptTags((("a", "b"),), "date"), 'tags [[["a", "b"]], "date", ""]'),
    (
        Kind.RECONCILE,
        KeptTags(TAGS, "date", KnownContent()),
        'tags [[["team", "web"], ["\\u00fc", "1 = 2"]], "date", "content-known"]',
    ),
    (Kind.UPLOAD, KeptAttributes(()), "[{}, [], []]"),
    (
        Kind.UPLOAD,
        KeptAttributes((("expires", "x"),), (("a", "b"),), ("acl",)),
        '[{"expires": "x"}, [["a", "b"]], ["acl"]]',
    ),
    (Kind.UPLOAD, KnownContent(), "content-known"),
    (Kind.TRANSFER, SourceObject("e a"), "copied e a"),
    (Kind.TRANSFER, SourceObject("e", streamed=True, proof="etag"), "streamed:etag e"),
    (Kind.TRANSFER, SourceObject("e", target_ns=7_000_000), "copied@7000000 e"),
    (Kind.DELETE, None, ""),
]


@pytest.mark.parametrize(("kind", "spec", "text"), TEXTS)
def test_a_spec_has_its_text_on_disk_and_comes_back(tmp_path, kind, spec, text):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        journal.jobs.begin("sync", "/src", "bucket/", "http://s3", {}, "1")
        journal.operations.add([Operation(kind, "key", Reason.MISSING, spec=spec)])
        written = journal._store.value("SELECT detail FROM operation")
        journal.operations.rewind()
        (read,) = journal.operations.lease(1, Stage.MAIN)

    assert (written, read.spec) == (text, spec)


@pytest.mark.parametrize(("kind", "spec", "text"), TEXTS)
def test_a_spec_reaches_a_worker_as_it_is(kind, spec, text):
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_a_result_replaces_a_spec_or_leaves_it(tmp_path):
    with Journal.open(str(tmp_path / "journal.db")) as journal:
        journal.jobs.begin("sync", "/src", "bucket/", "http://s3", {}, "1")
        planned = [Operation(Kind.RECONCILE, key, Reason.UNKNOWN, spec=KnownContent()) for key in "ab"]
        first, second = journal.operations.add(planned, lease=True)
        kept = KeptAttributes((("expires", "x"),))
        results = [Result(first.id, become=Kind.UPLOAD), Result(second.id, become=Kind.UPLOAD, spec=kept)]
        journal.operations.settle([(State.PENDING, result) for result in results])
        read = journal.operations.lease_rows([first.id, second.id])

    assert [(each.kind, each.spec) for each in read] == [(Kind.UPLOAD, KnownContent()), (Kind.UPLOAD, kept)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [(Kind.RECONCILE, text) for text in (
        "7", "content-known 7", "attributes-knownX", '{"x-amz-acl": "private"}', "tags ", "tags 1", "tags [[], 1]",
        "tags [[[1, 2]], 3, 4]", "tags [[], 1, 2]", 'tags [[[1, 2]], "date", ""]', "tags " + "[" * 10_000,
        f"tags [{[['a', 'b']] * 51}, 'date', '']".replace("'", '"'),
        "[{", "[{}]", "[{}, [], [1]]", '[{"a": 1}, [], []]', '[{}, [["a"]], []]', "[{" + "[" * 10_000,
    )] + [(Kind.CHUNK, text) for text in ("1", "1 2", "1 2 x", "1 2 3 4")] + [(Kind.DELETE, "content-known")],
)  # fmt: skip
def test_another_text_is_kept_and_is_no_spec(kind, text):
    read = decode_spec(kind, text)

    assert read == UnreadableSpec(text)
    assert encode_spec(read) == text


def test_a_value_that_is_no_text_is_damage():
    with pytest.raises(TypeError):
        decode_spec(Kind.RECONCILE, b"7")


def test_an_operation_without_the_spec_of_its_kind_is_refused():
    with pytest.raises(TypeError, match="the redirect of 'key' has no RedirectSpec"):
        require_spec(Operation(Kind.REDIRECT, "key", Reason.REDIRECT, spec=KnownContent()), RedirectSpec)
