"""What a user can get wrong with a sync: one sentence that names it, the right exit code, and never a traceback."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.rig import program
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Reply, error
from tests.rig.servers import free_port


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    with FakeS3() as running:
        yield running


@pytest.fixture
def sync(fake, clean_env, tmp_path) -> Callable[..., program.Finished]:
    """``sync("tree", "s3://b/p", S3BATCH_ACL="private")``: the real program with a key pair that works."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content")
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}

    def run(*arguments: str, **environment: str) -> program.Finished:
        env = {name: value for name, value in (clean_env | keys | environment).items() if value}
        return program.run(["sync", *arguments], env, tmp_path)

    return run


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "sentence"),
    [
        pytest.param(["tree"], {}, 2, "bucket is missing; write s3batch sync SOURCE s3://BUCKET/PREFIX", id="no bucket"),
        pytest.param(["tree", "s3://"], {}, 2, "write s3://BUCKET/PREFIX", id="half a URL"),
        pytest.param(["tree", "copy"], {}, 2, "are both local", id="local to local"),
        pytest.param(["s3://b/p", "s3://b/p/"], {}, 2, "are the same place", id="the same place twice"),
        pytest.param(["s3://b/p", "s3://b/p/q"], {}, 2, "inside the source", id="a target inside the source"),
        pytest.param(["s3://b/p/q", "s3://b/p", "--delete"], {}, 2, "--delete would", id="a source inside the target"),
        pytest.param(["s3://", "dir"], {}, 2, "source cannot be 's3://'", id="half a URL as source"),
        pytest.param(["s3://b/p", "dir", "--bucket", "b"], {}, 2, "is local beside", id="a bucket and a local target"),
        pytest.param(["s3://b/p", "s3://c/p", "--source-access-key", "only"], {}, 2, "source_secret_key is not",
                     id="half a key pair of the source"),
        pytest.param(["s3://b/p", "s3://c/p", "--source-endpoint-url", "http://other"], {}, 2, "no credentials are named",
                     id="another endpoint without credentials"),
        pytest.param(["none", "s3://b/p"], {}, 2, "source 'none' (from argument SOURCE) does not exist", id="no source"),
        pytest.param(["/dev/null", "s3://b/p"], {}, 2, "device, pipe or socket", id="a device as source"),
        pytest.param(["tree", "s3://b/p", "-0"], {}, 2, "-0 is given without a list", id="the end of paths without paths"),
        pytest.param(["tree", "s3://b/p", "--workers", "many"], {}, 2, "--workers", id="workers: many"),
        pytest.param(["tree", "s3://b/p"], {"S3BATCH_WORKERS": "many"}, 2, "S3BATCH_WORKERS", id="many in a variable"),
        pytest.param(["tree", "s3://b/p", "--part-size", "1KiB"], {}, 2, "--part-size", id="parts too small for S3"),
        pytest.param(["tree", "s3://b/p", "--bandwidth", "fast"], {}, 2, "--bandwidth", id="a bandwidth in words"),
        pytest.param(["-", "s3://b/k", "--delete"], {}, 2, "delete cannot be 'true' (from --delete)", id="a switch"),
        pytest.param(["s3://b/k", "-", "--max-size", "9"], {}, 2, "a stream is one object", id="a limit of a stream"),
        pytest.param(["tree", "s3://b/p", "--min-age", "1d", "--max-age", "1h"], {}, 2, "min_age cannot be '86400s'",
                     id="an age"),
        pytest.param(["tree", "s3://b/p", "--fail-on", "bogus"], {}, 2, "fail_on cannot be 'bogus'", id="a list"),
        pytest.param(["tree", "s3://b/p", "--min-age", "-1d"], {}, 2, "write --min-age=VALUE", id="a value with a dash"),
        pytest.param(["tree", "s3://b/p", "--timeout", "-1"], {}, 2, "--timeout", id="a timeout in the past"),
        pytest.param(["tree", "s3://b/p", "--retries", "0"], {}, 2, "--retries", id="not even one try"),
        pytest.param(["tree", "s3://b/p", "--max-delete", "half"], {}, 2, "max_delete", id="half of the objects"),
        pytest.param(["tree", "s3://b/p", "--acl", "{"], {}, 2, "acl", id="half a map"),
        pytest.param(["tree", "s3://b/p", "--redirects", "go"], {}, 2, "redirects", id="redirects that are no map"),
        pytest.param(["tree", "s3://b/p", "--checksum", "crc"], {}, 2, "crc64nvme", id="a checksum nobody knows"),
        pytest.param(["tree", "s3://b/p", "--executor", "dusk"], {}, 2, "executor", id="an executor nobody knows"),
        pytest.param(["tree", "s3://b/p", "--executor", "dask"], {}, 2, "--scheduler", id="dask without a cluster"),
        pytest.param(["tree", "s3://b/p", "--ping", "example.org"], {}, 2, "begins with https:// or http://",
                     id="a ping without a scheme"),
        pytest.param(["tree", "s3://b/p", "--delte"], {}, 2, "did you mean --delete?", id="a typo in a flag"),
        pytest.param(["tree", "s3://b/p"], {"S3BATCH_DELTE": "1"}, 2, "did you mean S3BATCH_DELETE?",
                     id="a typo in a variable"),
        pytest.param(["tree", "s3://b/p"], {"AWS_ENDPOINT_URL": "ftp://x"}, 2, "ftp", id="no endpoint of ours"),
        pytest.param(["tree", "s3://b/p"], {"AWS_ENDPOINT_URL": "http://"}, 2, "endpoint_url cannot be 'http://'", id="no host"),
        pytest.param(["tree", "s3://b/p"], {"AWS_SECRET_ACCESS_KEY": "wrong-but-long-enough"}, 4,
                     "refuses the credentials", id="the wrong secret"),
        pytest.param(["tree", "s3://b/p"], {"AWS_ACCESS_KEY_ID": "NOBODY"}, 4, "refuses the credentials",
                     id="a key nobody knows"),
        pytest.param(["tree", "s3://b/p"], {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, 4,
                     "no credentials found", id="no key at all"),
        pytest.param(["tree", "s3://b/p", "--access-key", "only"], {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
                     2, "secret_key", id="half a key pair"),
        pytest.param(["tree", "s3://b/p", "--profile", "nobody"], {}, 4, "nobody", id="a profile nobody has"),
        pytest.param(["tree", "s3://b/x\udcff"], {}, 2, "target cannot be", id="a target that is no text"),
        pytest.param(["tree", "s3://b/p", "--tags", "a=x\udcff"], {}, 2, "tags cannot be", id="a tag that is no text"),
        pytest.param(["tree", "s3://b/p", "--region", "x\udcff"], {}, 2, "region cannot be", id="a region that is no text"),
        pytest.param(["tree", "s3://b/p", "--journal", "tree"], {}, 3, "tree", id="a directory as journal"),
        pytest.param(["tree", "s3://b/p", "--journal", "tree/file"], {}, 3, "tree/file", id="another file as journal"),
        pytest.param(["tree", "s3://b/p", "--journal", "/proc/none/j.db"], {}, 3, "/proc/none", id="no place for it"),
        pytest.param(["tree", "s3://b/p", "--config", "none.toml"], {}, 2, "none.toml", id="no config file"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(sync, fake, arguments, environment, code, sentence):
    ended = sync(*arguments, "--json", **environment)

    assert ended.code == code, ended.stderr
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert json.loads(ended.stdout)["exit_code"] == code
    assert json.loads(ended.stdout)["state"] == "failed"
    assert not [request for request in fake.requests if request.name != "ListObjectsV2"]


def test_a_source_whose_name_is_no_text_is_synced_compared_and_resumed(sync, fake, clean_env, tmp_path):
    odd = tmp_path / os.fsdecode(b"x\xff")
    (tmp_path / "tree").rename(odd)
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
    whole, one = sync(odd.name, "s3://b/p", "--delete", "--json"), sync(f"{odd.name}/file", "s3://b/one/file")

    assert (whole.code, one.code) == (0, 0), whole.stderr + one.stderr
    assert whole.json["source"] == str(odd)
    verified = program.run(["verify", odd.name, "s3://b/p"], clean_env | keys, tmp_path)
    assert (verified.code, verified.stderr) == (0, "1 file compared: no difference\n")

    fake.meddle = lambda request: Reply(403, body=error("AccessDenied")) if request.name == "PutObject" else None
    (odd / "more").write_bytes(b"more")
    assert sync(odd.name, "s3://b/p").code == 1
    fake.meddle = lambda _: None
    resumed = program.run(["resume"], clean_env | keys, odd)
    assert resumed.code == 0, resumed.stderr
    assert set(fake.objects["b"]) == {"p/file", "one/file", "p/more"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("[s3batch]\nworkerz = 2\n", "did you mean workers?", id="a typo"),
        pytest.param("[s3batch.sync]\nworkers = 'many'\n", "workers", id="a word for a number"),
        pytest.param("[s3batch\n", "config.toml", id="no TOML"),
        pytest.param("[s3batch.snyc]\nworkers = 2\n", "snyc", id="a table nobody knows"),
    ],
)
def test_a_config_file_that_is_wrong_is_named_with_the_place(sync, tmp_path, text, sentence):
    (tmp_path / "config.toml").write_text(text)

    ended = sync("tree", "s3://b/p", "--config", "config.toml", "--json")

    assert ended.code == 2
    assert "config.toml" in ended.stderr
    assert sentence in ended.stderr
    assert json.loads(ended.stdout)["exit_code"] == 2


@pytest.mark.parametrize("lane", ["lean", "reference"])
def test_an_endpoint_nobody_answers_at_is_said_within_seconds(sync, lane):
    url = f"http://127.0.0.1:{free_port()}"

    ended = sync("tree", "s3://b/p", "--json", "--lane", lane, AWS_ENDPOINT_URL=url)

    assert ended.code == 4
    assert url in ended.stderr
    assert "check endpoint_url" in ended.stderr
    assert json.loads(ended.stdout)["seconds"] < 10


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (404, "NoSuchBucket", "does not exist"),
        (403, "AccessDenied", "these credentials need s3:ListBucket"),
        (400, "ExpiredToken", "refuses the credentials"),
        (200, "", "does not speak S3"),
    ],
)
def test_a_bucket_that_cannot_be_listed_is_said_why(sync, fake, status, code, sentence):
    fake.meddle = lambda _: Reply(status, body=error(code) if code else b"<html>hello</html>")

    ended = sync("tree", "s3://b/p", "--json", "--retries", "2")

    assert ended.code == (1 if code == "AccessDenied" else 4)
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert json.loads(ended.stdout)["state"] == "failed"


def test_what_is_no_journal_is_left_as_it_is(sync, tmp_path):
    other = tmp_path / "precious.txt"
    other.write_text("not a journal, but somebody's only copy of something\n" * 100)

    ended = sync("tree", "s3://b/p", "--journal", "precious.txt")

    assert ended.code == 3
    kept = [
        path.read_text() for path in tmp_path.iterdir() if path.name.startswith("precious.txt") and path.stat().st_size
    ]
    assert other.parent.joinpath("precious.txt").exists() or kept
    assert any("only copy" in text for text in kept)


def test_no_secret_is_ever_shown(sync, fake):
    fake.meddle = lambda _: Reply(403, body=error("SignatureDoesNotMatch", f"you sent {SECRET_KEY}"))

    ended = sync("tree", "s3://b/p", "--json", "-vv")

    assert ended.code == 4
    assert SECRET_KEY not in ended.stdout + ended.stderr


def test_a_resume_with_nothing_to_resume_is_no_failure(clean_env, tmp_path):
    ended = program.run(["resume", "--json"], clean_env, tmp_path)

    assert ended.code == 0
    assert json.loads(ended.stdout)["job"] is None


def test_a_resume_of_a_job_nobody_knows_is_an_error(clean_env, tmp_path):
    ended = program.run(["resume", "20200101-000000-abcdef", "--json"], clean_env, tmp_path)

    assert ended.code == 2
    assert "there is no job 20200101-000000-abcdef" in ended.stderr


def test_a_pipe_that_nobody_reads_ends_the_run_quietly(sync, fake, clean_env, tmp_path):
    for number in range(3000):
        (tmp_path / "tree" / f"{number:05}").write_bytes(b"")
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_ENDPOINT_URL": fake.url}
    read, write = os.pipe()
    process = program.start(["sync", "tree", "s3://b/p", "--dry-run"], clean_env | keys, tmp_path, stdout=write)
    os.close(write)
    os.read(read, 10)
    os.close(read)

    ended = program.finish(process)

    assert ended.code == 1
    assert "Traceback" not in ended.stderr
    assert "bug" not in ended.stderr


def test_a_source_that_is_one_file_is_synced(sync, fake, tmp_path: Path):
    ended = sync("tree/file", "s3://b/p/", "--json")

    assert ended.code == 0, ended.stderr
    assert list(fake.objects["b"]) == ["p/file"]
