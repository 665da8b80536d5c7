"""A store that proves nothing and lets nobody look: the objects that the coordinator stores are warned of too, once."""

from __future__ import annotations

import itertools

from tests.rig.fake_s3 import Manners, Reply, Seen, error

WORDS = "it is not proved that the objects are whole"
PROVES_NOTHING = Manners(ignores_checksums=True, md5_etags=False)
_NUMBERS = itertools.count()


def closed(seen: Seen) -> Reply | None:
    """Refuse to show an object, with a request id of its own each time; the job's own listing is let through."""
    shows = seen.name in ("HeadObject", "GetObject") or seen.query.get("max-keys") == "1"
    return Reply(403, {"x-amz-request-id": f"R{next(_NUMBERS)}"}, error("AccessDenied")) if shows else None


def test_the_object_manifest_of_a_sync_is_warned_of(scene):
    scene.fake.manners = PROVES_NOTHING
    scene.fake.meddle = lambda seen: closed(seen) if ".s3batch" in (seen.key + seen.query.get("prefix", "")) else None
    scene.write({"a": b"a"})

    run = scene.sync("--object-manifest")

    assert (run.code, run.err.count(WORDS)) == (0, 1), run.err
    assert "site/.s3batch/manifest" in scene.objects


def test_workers_and_coordinator_say_it_once(scene):
    scene.fake.manners = PROVES_NOTHING
    scene.fake.meddle = closed
    scene.write({f"f{number}": b"x" for number in range(30)})

    run = scene.run("sync", str(scene.source), "s3://bucket/site", "--object-manifest", "--workers", "2")

    assert (run.code, run.err.count(WORDS)) == (0, 1), run.err
    assert "s3:GetObject, or s3:ListBucket" in run.err


def test_the_manifest_of_a_cache_is_warned_of_once(scene):
    scene.fake.manners = PROVES_NOTHING
    scene.fake.meddle = closed
    scene.write({"f": b"x" * 100})

    run = scene.run(
        "cache", "rebuild", "s3://bucket", "--cache", str(scene.source), "--cache-key", "k", "--executor", "inline"
    )

    assert (run.code, run.err.count(WORDS)) == (0, 1), run.err
