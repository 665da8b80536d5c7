import os

import pytest

from s3batch.archive import build_manifest, change_detection, manifest_codec, pack_again, pack_chunk, pack_plan, scan
from s3batch.archive.hashing import WINDOW
from tests.archive.cycle import OLD, Store, fill, noise, restore_tree, snapshot

ROOTS = ("d",)


def planned(here):
    survey = change_detection.survey_changes(scan.scan_tree(str(here), ROOTS))
    items = pack_plan.hash_plan(survey)
    path = str(here / "plan")
    pack_plan.write_items(path, survey, items, str(here), ROOTS)
    pack_plan.learn_hashes(survey, items, [pack_chunk.hash_items(path, recipe) for recipe in items.recipes])
    plan = pack_plan.plan_packing(survey)
    pack_plan.write_items(path, survey, plan.items, str(here), ROOTS)
    return path, plan


def packed(path, plan, store):
    found = []
    for recipe in plan.recipes:
        built = pack_chunk.build_chunk(path, recipe)
        if built.body:
            store.put(built.packed.id, built.body)
        found.append(built.packed)
    pack_chunk.close_pack_plans()
    return found


def read_again(here, path, plan, results, store, **options):
    return pack_again.read_changed_again(
        plan,
        results,
        path,
        str(here),
        lambda built: store.put(built.packed.id, built.body),
        level=3,
        pause=0,
        **options,
    )


@pytest.fixture
def here(tmp_path):
    top = tmp_path / "here"
    fill(top, {"d/a": noise(1000), "d/b": b"B" * 20, "d/large": noise(WINDOW + 10, 2), "d/p": noise(90_000, 3)})
    fill(top, {"d/q": noise(90_000, 3)})
    return top


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"d/a": noise(1001)}, id="a file that grows"),
        pytest.param({"d/a": noise(WINDOW + 5)}, id="a file that becomes a large one"),
        pytest.param({"d/a": b"", "d/b": b"short"}, id="files that shrink"),
        pytest.param({"d/large": noise(2 * WINDOW + 7, 2)}, id="a large file that grows"),
        pytest.param({"d/large": noise(WINDOW + 10, 5)}, id="a large file with other content"),
        pytest.param({"d/large": b"small"}, id="a large file that becomes a small one"),
        pytest.param({"d/p": noise(90_001, 3)}, id="a file that grows and had a copy"),
        pytest.param({"d/p": noise(90_000, 4)}, id="a file with other content that had a copy"),
    ],
)
def test_a_file_that_changed_is_stored_as_it_is_and_restored_so(here, tmp_path, changes):
    store = Store()
    path, plan = planned(here)
    fill(here, changes, mtime_ns=OLD + 5)

    results = packed(path, plan, store)
    results += read_again(here, path, plan, results, store)
    done = build_manifest.assemble_manifest(plan, results, ROOTS)
    (tmp_path / "there").mkdir()
    restore_tree(tmp_path / "there", ["d"], manifest_codec.encode_manifest(done.manifest), store)
    for name in ("plan", ".s3batch"):
        if (here / name).is_file():
            (here / name).unlink()

    assert done.problems == []
    assert snapshot(tmp_path / "there") == snapshot(here)
    assert set(done.manifest.chunks.all_ids()) <= set(store.chunks)


def test_a_file_that_never_holds_still_is_named(here, monkeypatch):
    store, sizes = Store(), iter(range(2000, 3000))
    path, plan = planned(here)
    original = pack_chunk.build_chunk

    def build(*args, **options):
        fill(here, {"d/a": noise(next(sizes))})
        return original(*args, **options)

    monkeypatch.setattr(pack_chunk, "build_chunk", build)
    results = packed(path, plan, store)
    results += read_again(here, path, plan, results, store, tries=3)
    done = build_manifest.assemble_manifest(plan, results, ROOTS)

    assert [(problem.path, problem.error) for problem in done.problems] == [("d/a", "it changed while it was read")]
    assert done.gone == frozenset()
    assert "b" in done.manifest.tree.names


def test_a_file_that_vanishes_meanwhile_is_named_as_gone(here):
    store = Store()
    path, plan = planned(here)
    os.unlink(here / "d" / "b")

    results = packed(path, plan, store)
    results += read_again(here, path, plan, results, store)
    done = build_manifest.assemble_manifest(plan, results, ROOTS)

    assert ([problem.path for problem in done.problems], done.gone) == (["d/b"], frozenset({"d/b"}))
