"""Limits of time in a real sync: the run ends in order, and a resume does the rest."""

from __future__ import annotations

SLOW = ("--bandwidth", "200KiB", "--max-concurrency", "2", "--workers", "1")


def test_a_run_ends_when_its_time_is_up_and_a_resume_does_the_rest(make_tree, bucket, run_cli):
    tree = make_tree({f"{number:02}": bytes([number]) * 20_480 for number in range(60)})

    stopped = run_cli(["sync", tree, bucket.url("site"), "--max-duration", "2s", "--json", *SLOW])
    early = bucket.contents()
    resumed = run_cli(["resume", "--json", "--bandwidth", "100MiB"], cwd=tree)

    assert (stopped.code, stopped.json["state"], stopped.json["exit_code"]) == (124, "interrupted", 124), stopped.stderr
    assert "stopped after 2.0 s, as max_duration says" in stopped.stderr
    assert f"to finish it: s3batch resume {stopped.json['job']}" in stopped.stderr
    assert stopped.json["operations"]["upload"]["done"] == len(early) < 60
    assert (resumed.code, resumed.json["sent_before"], resumed.json["sent_now"]) == (0, len(early), 60 - len(early))
    assert bucket.contents() == {f"site/{path.name}": path.read_bytes() for path in tree.iterdir()}


def test_a_timetable_limits_a_sync_and_its_resume(make_tree, bucket, run_cli, env):
    tree = make_tree({f"{number:02}": bytes([number]) * 2048 for number in range(20)})
    arguments = ["sync", tree, bucket.url("site"), "--json", "--bandwidth", "00:00,200KiB 12:00,200KiB sun,off"]

    assert run_cli(arguments, env={**env, "S3BATCH_TEST_CRASH_AT": "settled:1"}).code < 0
    resumed = run_cli(["resume", "--json", "--bandwidth", "mon,off"], cwd=tree)

    assert resumed.code == 0, resumed.stderr
    assert len(bucket.keys()) == 20
