"""The rig's fault proxy before a real server: transparent where it should be, and harmful where told."""

import hashlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.rig import buckets
from tests.rig.faults import Call, Delay, DuringReply, DuringRequest, Hold, Refuse, Reset, Stall
from tests.rig.servers import Server

BODY = bytes(range(256)) * 4096
"""1 MiB"""


def through(proxy, server, **options) -> buckets.Bucket:
    """A bucket whose requests pass the proxy."""
    behind = Server(server.name, proxy.url, server.access_key, server.secret_key)
    s3 = buckets.client(behind, **options)
    name = buckets.make_bucket(server).name
    return buckets.Bucket(name, behind, s3)


@pytest.fixture
def behind(proxy, server):
    return through(proxy, server)


def test_without_rules_everything_passes_unchanged_and_is_recorded(proxy, behind):
    keys = ["plain", "with space/ü", "a+b%20c", "x" * 1000]

    for key in keys:
        behind.put(key, BODY, Metadata={"owner": "me"})

    assert behind.keys() == set(keys)
    assert all(behind.get(key) == BODY for key in keys)
    assert proxy.counts() == {"PutObject": 4, "ListObjectsV2": 1, "GetObject": 4}
    put = proxy.requests[1]
    assert (put.operation, put.key, put.status, put.action, put.sent) == ("PutObject", keys[1], 200, "", len(BODY))
    assert put.headers["x-amz-meta-owner"] == "me"
    assert put.body == BODY[: 1 << 16]


def test_128_connections_pass_at_once(proxy, behind):
    gate = threading.Barrier(128)

    def put(number):
        gate.wait(30)
        behind.put(f"k{number}", b"x" * number)

    behind = buckets.Bucket(behind.name, behind.server, buckets.client(behind.server))
    behind.client.meta.config.max_pool_connections = 128
    with ThreadPoolExecutor(128) as pool:
        list(pool.map(put, range(128)))

    assert len(behind.keys()) == 128
    assert proxy.counts()["PutObject"] == 128


def test_connections_are_kept_alive(proxy, behind):
    for _ in range(5):
        behind.put("k", b"v")

    assert proxy.connections == 1


def test_a_refusal_comes_in_the_servers_place(proxy, behind, server):
    proxy.on("PutObject", Refuse(400, "ExpiredToken"), times=1)

    with pytest.raises(ClientError) as refused:
        behind.put("k", BODY)

    assert refused.value.response["Error"]["Code"] == "ExpiredToken"
    assert behind.keys() == set()
    assert (proxy.requests[0].status, proxy.requests[0].action) == (400, "Refuse")
    behind.put("k", BODY)


def test_throttling_that_ends_is_survived_by_a_client_that_tries_again(proxy, behind):
    rule = proxy.on("PutObject", Refuse(503, "SlowDown"), times=2)

    behind.put("k", b"v")

    assert rule.applied == 2
    assert [request.status for request in proxy.requests] == [503, 503, 200]


def test_a_refusal_after_the_server_has_applied_it_hides_a_success(proxy, behind):
    proxy.on("PutObject", Refuse(400, "Nonsense", after=True), times=1)

    with pytest.raises(ClientError):
        behind.put("k", b"v")

    assert behind.get("k") == b"v"


def test_a_lost_reply_hides_a_success_too(proxy, behind):
    proxy.on("PutObject", Reset(after=True), times=3)

    with pytest.raises(BotoCoreError):
        behind.put("k", b"v")

    assert proxy.counts()["PutObject"] == 3
    assert behind.get("k") == b"v"


def test_a_reset_before_reaches_no_server(proxy, behind):
    proxy.on("", Reset(), method="PUT", times=3)

    with pytest.raises(BotoCoreError):
        behind.put("k", b"v")

    assert behind.keys() == set()


def test_an_upload_cut_in_its_body_stores_nothing(proxy, behind):
    proxy.on("PutObject", DuringRequest(cut=200_000), times=3)

    with pytest.raises(BotoCoreError):
        behind.put("k", BODY)

    assert behind.keys() == set()
    assert {request.sent for request in proxy.requests if request.operation == "PutObject"} == {200_000}


@pytest.mark.parametrize("reset", [pytest.param(True, id="by RST"), pytest.param(False, id="by FIN")])
def test_a_reply_cut_in_its_body_is_noticed(proxy, behind, reset):
    behind.put("k", BODY)
    proxy.on("GetObject", DuringReply(cut=300_000, reset=reset))

    with pytest.raises(BotoCoreError):
        behind.get("k")

    assert proxy.requests[-1].received == 300_000


def test_one_flipped_bit_changes_one_byte_and_no_length(proxy, behind):
    behind.put("k", BODY)
    proxy.on("GetObject", DuringReply(flip=777_777))

    got = behind.get("k")

    assert [n for n in range(len(BODY)) if got[n] != BODY[n]] == [777_777]


def test_slow_is_slow_in_both_directions(proxy, behind):
    proxy.on("PutObject", DuringRequest(rate=4 << 20))
    proxy.on("GetObject", DuringReply(rate=4 << 20))
    times = [time.monotonic()]

    behind.put("k", BODY)
    times.append(time.monotonic())
    same = hashlib.md5(behind.get("k")).digest() == hashlib.md5(BODY).digest()
    times.append(time.monotonic())

    assert same
    assert times[1] - times[0] > 0.2 < times[2] - times[1]


def test_a_stall_ends_in_a_broken_connection(proxy, behind):
    proxy.on("PutObject", Stall(0.2), times=3)

    with pytest.raises(BotoCoreError):
        behind.put("k", b"v")


def test_a_delay_only_takes_time(proxy, behind):
    proxy.on("PutObject", Delay(0.2))
    start = time.monotonic()

    behind.put("k", b"v")

    assert time.monotonic() - start > 0.2


def test_a_call_happens_before_or_after_the_server_knows(proxy, behind, server):
    direct = buckets.Bucket(behind.name, server, buckets.client(server))
    seen = {}
    proxy.on("PutObject", Call(lambda request: seen.update(before=direct.keys())), key="^first$")
    proxy.on("PutObject", Call(lambda request: seen.update(after=direct.keys()), after=True), key="^second$")

    behind.put("first", b"v")
    behind.put("second", b"v")

    assert seen == {"before": set(), "after": {"first", "second"}}


def test_rules_skip_count_and_match_keys(proxy, behind):
    proxy.on("PutObject", Refuse(400, "Third"), key=r"\.css$", skip=2, times=1)
    outcome = []

    for key in ("a.css", "a.js", "b.css", "c.css", "d.css"):
        try:
            behind.put(key)
            outcome.append(key)
        except ClientError:
            outcome.append("refused")

    assert outcome == ["a.css", "a.js", "b.css", "refused", "d.css"]


def test_chance_is_the_same_for_the_same_seed(proxy, behind):
    def refused(seed):
        rule = proxy.on("HeadObject", Refuse(400, "X"), probability=0.3, seed=seed)
        outcome = []
        for _ in range(30):
            with pytest.raises(ClientError):
                behind.head("missing")
            outcome.append(proxy.requests[-1].status)
        proxy.rules.remove(rule)
        return outcome

    first, again, other = refused(1), refused(1), refused(2)

    assert first == again != other
    assert 0 < first.count(400) < 30


def test_a_server_can_be_gone_and_come_back(proxy, behind):
    behind.put("before", b"v")

    proxy.down()
    with pytest.raises(BotoCoreError):
        behind.put("while", b"v")
    proxy.up()
    behind.put("after", b"v")

    assert behind.keys() == {"before", "after"}


def test_waiting_for_a_request_ends_when_it_comes(proxy, behind):
    proxy.on("PutObject", Delay(0.1))
    sender = threading.Thread(target=behind.put, args=("k", b"v"))
    sender.start()

    assert proxy.wait_for("PutObject", timeout=10)
    assert not proxy.wait_for("PutObject", count=2, timeout=0.05)
    sender.join()


def test_tls_is_spoken_with_a_certificate_of_the_tests_own_authority(tls_proxy, server, ca_bundle):
    bucket = through(tls_proxy, server, verify=str(ca_bundle))

    bucket.put("k", BODY)

    assert tls_proxy.url.startswith("https://")
    assert bucket.get("k") == BODY


def test_a_client_that_expects_100_continue_gets_it(proxy, behind):
    body = b"0123456789" * 1000
    url = behind.client.generate_presigned_url("put_object", Params={"Bucket": behind.name, "Key": "k"})
    parts = urlsplit(url)
    head = (
        f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as sock:
        sock.sendall(head.encode())
        interim = sock.recv(1000)
        sock.sendall(body)
        final = sock.recv(1000)

    assert interim.startswith(b"HTTP/1.1 100")
    assert final.startswith(b"HTTP/1.1 200")
    assert behind.get("k") == body


def test_chunked_bodies_and_their_trailers_pass(proxy, behind):
    url = behind.client.generate_presigned_url("put_object", Params={"Bucket": behind.name, "Key": "k"})
    parts = urlsplit(url)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as sock:
        sock.sendall(head.encode() + b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-trailer: 1\r\n\r\n")
        reply = sock.recv(1000)

    assert reply.startswith(b"HTTP/1.1 200")
    assert behind.get("k") == b"hello world"


def test_contents_leave_out_what_goes_between_the_listing_and_the_look(proxy, server, behind):
    direct = buckets.Bucket(behind.name, server, buckets.client(server))
    direct.put("kept", b"1")
    direct.put("going", b"2")
    going = Call(lambda request: direct.client.delete_object(Bucket=direct.name, Key=request.key))
    proxy.on("GetObject", going, key="^going$")

    assert behind.contents() == {"kept": b"1"}


def test_contents_name_an_object_that_is_listed_and_cannot_be_read(proxy, behind):
    behind.put("lost", b"1")
    proxy.on("GetObject", Refuse(404, "NoSuchKey"), key="^lost$")

    with pytest.raises(ClientError, match="NoSuchKey"):
        behind.contents()


def test_the_proxy_is_quiet_when_what_it_held_up_has_landed(proxy, behind):
    landing = threading.Event()
    proxy.on("PutObject", Hold(landing))
    assert proxy.wait_until_quiet()
    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(behind.put, "late", b"1")
        assert proxy.wait_for("PutObject")

        held = proxy.wait_until_quiet(timeout=0.01)
        landing.set()

        assert not held
        assert proxy.wait_until_quiet()
        assert put.result()
        assert behind.get("late") == b"1"
