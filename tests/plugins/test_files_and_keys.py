"""F1-F12, decisions 13 and 14: which files are sent, and under which keys."""

from __future__ import annotations

import errno
import os
import socket

import pytest

EVERY = {"a.txt", "sub/b.txt"}


@pytest.fixture
def step(step):
    step.files({"dist/a.txt": "hello", "dist/sub/b.txt": "there"})
    step.settings = {"source": "dist"}
    return step


# --- F1-F3, F6-F8: the source ----------------------------------------------------------------------


def test_f1_an_absolute_source_is_looked_for_below_the_workspace_first(step, tmp_path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "elsewhere.txt").write_text("x")

    below = step.run({"source": "/dist"})
    outside = step.run({"source": str(tmp_path / "dist"), "target": "out"})

    assert (below.code, outside.code) == (0, 0), below.err + outside.err
    assert step.bucket.keys() == EVERY | {"out/elsewhere.txt"}


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        pytest.param("dist/*.txt", {"a.txt"}, id="F2 a star stays in its directory"),
        pytest.param("dist/**/*.txt", EVERY, id="F2 two stars cross"),
        pytest.param("dist/**", EVERY, id="F2 all below"),
        pytest.param("d?st/*.txt", {"dist/a.txt"}, id="F2 keys are relative to the fixed part"),
        pytest.param("dist/[ab].txt", {"a.txt"}, id="F2 a class"),
    ],
)
def test_a_source_may_be_a_glob(step, source, keys) -> None:
    step.files({"dist/c.js": "x"} if "**" not in source or source.endswith("txt") else {})

    run = step.run({"source": source})

    assert (run.code, step.bucket.keys()) == (0, keys), run.err
    step.is_settled({"source": source})


def test_f2_a_path_that_exists_is_no_glob(step) -> None:
    step.files({"d[x]/a*.txt": "1", "d[x]/ab.txt": "2", "dx/no": "3"})

    run = step.run({"source": "d[x]"})

    assert (run.code, step.bucket.keys()) == (0, {"a*.txt", "ab.txt"}), run.err


def test_f3_every_entry_in_lexical_order_dotfiles_included(step) -> None:
    step.files({".git/HEAD": "ref", ".env": "x", "z": "z", "Z": "Z"})

    run = step.run({"source": "."})

    sent = [request.key for request in run.changes]
    assert sorted(sent) == [".env", ".git/HEAD", "Z", "dist/a.txt", "dist/sub/b.txt", "z"]
    assert "s3batch" not in " ".join(sent)


@pytest.mark.parametrize(
    ("target", "key"),
    [
        pytest.param("t", "t", id="F6 the target is the key"),
        pytest.param("/t/u.txt", "t/u.txt", id="F6 without its leading slash"),
        pytest.param("t/", "t/a.txt", id="F6 a target with a slash at its end is a directory"),
        pytest.param("/", "a.txt", id="F6 the bucket"),
        pytest.param("", "a.txt", id="F6 no target"),
    ],
)
def test_a_source_may_be_one_file(step, target, key) -> None:
    step.bucket.put("t/other", b"")
    step.bucket.put("t2", b"")
    settings = {"source": "dist/a.txt", "target": target}

    run = step.run(settings)

    assert (run.code, run.changed) == (0, [("PutObject", key)]), run.err
    step.is_settled(settings)


def test_f6_delete_beside_one_key_deletes_nothing(step) -> None:
    step.bucket.put("t/other", b"")
    step.bucket.put("t2", b"")

    run = step.run({"source": "dist/a.txt", "target": "t", "delete": True})

    assert (run.code, step.bucket.keys()) == (0, {"t", "t/other", "t2"}), run.err


@pytest.mark.parametrize("delete", [False, True])
def test_f7_an_empty_source_sends_nothing_and_deletes_nothing(step, delete) -> None:
    (step.workspace / "empty" / "deeper").mkdir(parents=True)
    step.bucket.put("t/kept", b"")

    run = step.run({"source": "empty", "target": "t", "delete": delete})

    assert (run.code, run.changed) == (int(delete), [])
    assert ("holds no file" in run.err) is delete
    assert ("allow_empty_source" in run.err) is delete


def test_f7_allow_empty_source_lets_it_delete(step) -> None:
    (step.workspace / "empty").mkdir()
    step.bucket.put("t/old", b"")
    step.bucket.put("t2/kept", b"")

    run = step.run({"source": "empty", "target": "t", "delete": True, "allow_empty_source": True})

    assert (run.code, step.bucket.keys()) == (0, {"t2/kept"}), run.err


def test_f7_an_empty_source_and_nothing_to_delete_is_fine(step) -> None:
    (step.workspace / "empty").mkdir()

    assert step.run({"source": "empty", "target": "t", "delete": True}).code == 0


def test_f8_a_missing_source_is_an_error_and_deletes_nothing(step) -> None:
    step.bucket.put("kept", b"")

    run = step.run({"source": "nowhere", "delete": True})

    assert (run.code, run.requests, step.bucket.keys()) == (1, [], {"kept"})
    assert "source 'nowhere' (from PLUGIN_SOURCE) does not exist" in run.err


# --- F4, F5, decision 14: odd files -------------------------------------------------------------------


def test_f4_links_are_followed(step) -> None:
    (step.workspace / "dist" / "link.txt").symlink_to("a.txt")
    (step.workspace / "dist" / "linked").symlink_to("sub")
    (step.workspace / "current").symlink_to("dist")

    run = step.run({"source": "current"})

    assert (run.code, step.bucket.keys()) == (0, EVERY | {"link.txt", "linked/b.txt"}), run.err
    assert step.bucket.get("link.txt") == b"hello"
    step.is_settled({"source": "current"})


def test_f4_links_may_be_skipped(step) -> None:
    (step.workspace / "dist" / "link.txt").symlink_to("a.txt")
    (step.workspace / "dist" / "linked").symlink_to("sub")

    run = step.run({"symlinks": "skip"})

    assert (run.code, step.bucket.keys()) == (0, EVERY), run.err
    assert "skipped 2 paths, each of them a symbolic link (symlinks: skip)" in run.err
    assert "link.txt, linked" in run.err


def test_f4_a_link_that_leads_in_a_circle_is_entered_once(step) -> None:
    (step.workspace / "dist" / "sub" / "up").symlink_to("..")

    run = step.run()

    assert (run.code, step.bucket.keys()) == (0, EVERY), run.err


def test_f4_a_broken_link_fails_and_all_else_is_sent(step) -> None:
    (step.workspace / "dist" / "broken").symlink_to("nowhere")
    step.bucket.put("broken", b"before")
    step.bucket.put("orphan", b"before")

    run = step.run({"delete": True})

    assert (run.code, step.bucket.keys()) == (1, EVERY | {"broken", "orphan"})
    assert "failed: upload broken: BrokenLink: 'broken': broken symbolic link to 'nowhere'" in run.err
    assert "nothing was deleted, because not all other operations succeeded" in run.err


def test_f5_pipes_and_sockets_are_skipped_with_a_warning_and_their_keys_stay(step) -> None:
    os.mkfifo(step.workspace / "dist" / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(step.workspace / "dist")
        listener.bind("socket")
        os.chdir(step.workspace)
    step.bucket.put("pipe", b"before")

    run = step.run({"delete": True})

    assert (run.code, step.bucket.keys()) == (0, EVERY | {"pipe"}), run.err
    assert "warning: skipped pipe: it is a named pipe" in run.err
    assert "warning: skipped socket: it is a socket" in run.err


def test_decision_14_an_unreadable_file_fails_alone(step, monkeypatch) -> None:
    """Root, as whom a container runs, may read everything: the refusal is the kernel's in all but that."""
    real = os.open

    def refusing(path, *arguments, **more):
        if path == "a.txt":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **more)

    monkeypatch.setattr("s3batch.source.reader.os.open", refusing)
    step.bucket.put("orphan", b"")

    run = step.run({"delete": True})

    assert (run.code, step.bucket.keys()) == (1, {"sub/b.txt", "orphan"})
    assert "failed: upload a.txt: Unreadable: cannot read 'a.txt': Permission denied" in run.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every directory")
def test_decision_14_an_unreadable_directory_fails_and_nothing_is_deleted(step) -> None:
    step.run()
    (step.workspace / "dist" / "sub").chmod(0)

    run = step.run({"delete": True})
    (step.workspace / "dist" / "sub").chmod(0o755)

    assert (run.code, step.bucket.keys()) == (1, EVERY)


# --- F9-F12: keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "prefix"),
    [
        pytest.param("site", "site/", id="F9 plain"),
        pytest.param("/site", "site/", id="F9 a leading slash"),
        pytest.param("/site/", "site/", id="F9 a slash at each end"),
        pytest.param("//dbl", "dbl/", id="F9 two slashes"),
        pytest.param("./x//y/", "x/y/", id="F9 dots and empty segments"),
        pytest.param("/", "", id="F9 the bucket"),
        pytest.param("", "", id="F9 nothing"),
    ],
)
def test_a_target_is_a_prefix(step, target, prefix) -> None:
    run = step.run({"target": target, "delete": True})

    assert (run.code, step.bucket.keys()) == (0, {prefix + key for key in EVERY}), run.err
    step.is_settled({"target": target, "delete": True})


def test_f10_directories_are_parted_by_slashes(step) -> None:
    step.files({"dist/x/y/z.txt": "deep"})

    run = step.run({"target": "t"})

    assert (run.code, step.bucket.get("t/x/y/z.txt")) == (0, b"deep")


ODD = ["a b+c%d#e?f&g=h.txt", "ümläut/日本語.txt", "per%20cent", "quo'te\"s", "back\\slash", "tilde~", "new\nline", "é"]


def test_f11_names_are_sent_as_their_own_bytes(step) -> None:
    step.files({f"odd/{name}": name for name in ODD})
    raw = os.fsencode(step.workspace / "odd") + b"/latin-\xe9"
    with open(raw, "wb") as file:
        file.write(b"bytes")
    settings = {"source": "odd", "target": "t", "delete": True}

    run = step.run(settings)

    assert run.code == 0, run.err
    assert {key for _, key in run.changed} == {f"t/{name}" for name in ODD} | {"t/latin-\udce9"}
    assert {step.bucket.get(f"t/{name}").decode() for name in ODD} == set(ODD)


def test_f11_odd_names_are_settled_copied_and_deleted_too(step) -> None:
    step.files({f"odd/{name}": name for name in ODD})
    settings = {"source": "odd", "target": "t", "delete": True}
    step.run(settings)
    step.is_settled(settings)

    copied = step.run({**settings, "cache_control": "no-store"})
    for name in ODD[1:]:
        (step.workspace / "odd" / name).unlink()
    deleted = step.run(settings | {"cache_control": "no-store"})

    assert (copied.code, copied.counts["CopyObject"]) == (0, len(ODD)), copied.err
    assert (deleted.code, step.bucket.keys()) == (0, {f"t/{ODD[0]}"}), deleted.err


def test_f12_a_control_character_in_a_key_breaks_nothing(step) -> None:
    step.bucket.put("t/bell\x07", b"")
    step.bucket.put("t/plain", b"")

    run = step.run({"target": "t", "delete": True})

    assert (run.code, step.bucket.keys()) == (0, {f"t/{key}" for key in EVERY}), run.err
    assert ("DeleteObject", "t/bell\x07") in run.changed
    assert "\x07" not in run.said


def test_decision_13_a_website_host_as_bucket_is_its_bucket_with_one_warning(step) -> None:
    host = f"{step.bucket.name}.s3-website-us-east-1.amazonaws.com"

    run = step.run({"bucket": host})

    assert (run.code, step.bucket.keys()) == (0, EVERY), run.err
    assert run.err.count("is the host name of a website") == 1


def test_decision_14_a_file_that_changes_while_it_is_sent_is_planned_again(step, proxy) -> None:
    from tests.rig.faults import Call

    path = step.workspace / "dist" / "a.txt"
    proxy.on("ListObjectsV2", Call(lambda _: None))

    def rewrite(request) -> None:
        path.write_text("rewritten, and longer")

    proxy.on("PutObject", Call(rewrite), key="sub/b", times=1)

    run = step.run({"max_concurrency": 1, "publish_last": "a.txt"})

    assert (run.code, step.bucket.get("a.txt")) == (0, b"rewritten, and longer"), run.err


def test_decision_14_a_file_that_vanishes_fails_alone_and_is_named(step, proxy) -> None:
    from tests.rig.faults import Call

    path = step.workspace / "dist" / "a.txt"
    step.bucket.put("orphan", b"")
    proxy.on("PutObject", Call(lambda _: path.unlink(missing_ok=True)), key="sub/b")

    run = step.run({"publish_last": "a.txt", "delete": True})

    assert (run.code, step.bucket.keys()) == (1, {"sub/b.txt", "orphan"})
    assert "failed: upload a.txt: Vanished: 'a.txt': it is gone" in run.err
