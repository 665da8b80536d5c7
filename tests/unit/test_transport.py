"""The transport against servers that say exactly what the test tells them: connections, retries, redirects, second opinions."""

from __future__ import annotations

import gc
import socket
import ssl
import time
from collections import Counter
from contextlib import suppress

import pytest

from s3batch.quirks import OVERRULED
from s3batch.s3 import dialer
from s3batch.s3 import requests as calls
from s3batch.s3.calls import catch_request_error, send_request
from s3batch.s3.endpoint import Endpoint, split_url
from s3batch.s3.event_loop import run_in_thread, sleep
from s3batch.s3.faults import Fault, RequestError, fault_of
from s3batch.s3.lazy_boto import make_boto_sender
from s3batch.s3.requests import Response
from s3batch.s3.sigv4 import Credentials
from s3batch.s3.transport import Transport
from tests.rig.fake_s3 import ACCESS_KEY, SECRET_KEY, FakeS3, Manners, Reply, error
from tests.rig.scripted import CLOSE, CLOSE_UNREAD, OK, RESET, Scripted, wait

HEAD = calls.head_object("key")
GET = calls.get_object("key")
PUT = calls.put_object("key", b"body", {})


def endpoint_of(url: str, **changes) -> Endpoint:
    host, port, tls, base_path = split_url(url)
    endpoint = Endpoint(
        bucket="bucket", region="us-east-1", host=host, port=port, tls=tls, path_style=True, url=url,
        base_path=base_path, credentials=Credentials(ACCESS_KEY, SECRET_KEY), timeout=5.0,
    )  # fmt: skip
    return endpoint._replace(**changes)


def no_boto(_: Endpoint):
    def carry(call: calls.Request) -> Response:
        raise AssertionError(f"boto3 was asked for {call.name}")

    return carry


@pytest.fixture
def transport_to():
    """A function from a server, or its URL, to a transport; all are closed after the test."""
    made = []

    def to(server, carrier=no_boto, *, limit=8, bandwidth=0.0, clock=time.monotonic, **changes) -> Transport:
        url = server if isinstance(server, str) else server.url
        made.append(Transport(endpoint_of(url, **changes), carrier, limit=limit, bandwidth=bandwidth, clock=clock))
        return made[-1]

    yield to
    for transport in made:
        transport.close()


@pytest.fixture
def fake():
    with FakeS3() as running:
        yield running


def all_of(transport: Transport, wanted: list[calls.Request]) -> list:
    """The outcomes of calls that are under way at once, in no certain order."""
    came = []
    for call in wanted:
        transport.loop.start(catch_request_error(send_request(call)), came.append)
    while len(came) < len(wanted):
        transport.turn(1.0)
    return came


# --- connections ---------------------------------------------------------------------------


def test_a_connection_is_kept_for_the_next_call(fake, transport_to):
    transport = transport_to(fake)

    for _ in range(3):
        transport.call(PUT)

    assert len({request.client for request in fake.requests}) == 1


def test_calls_at_once_have_a_connection_each(fake, transport_to):
    transport = transport_to(fake)

    answers = all_of(transport, [PUT] * 8)

    assert [answer.status for answer in answers] == [200] * 8
    assert len({request.client for request in fake.requests}) == 8


@pytest.mark.parametrize(
    "manners",
    [
        pytest.param(Manners(keeps_connections=False), id="Connection: close"),
        pytest.param(Manners(protocol="HTTP/1.0"), id="HTTP/1.0"),
    ],
)
def test_a_server_that_closes_after_each_answer_is_served_by_new_connections(fake, transport_to, manners):
    fake.manners = manners
    transport = transport_to(fake)

    assert transport.call(PUT).status == 200
    assert bytes(transport.call(GET).body) == b"body"
    assert len({request.client for request in fake.requests}) == 2


def test_answers_in_chunks_are_put_together(fake, transport_to):
    fake.manners = Manners(answers_in_chunks=True)
    transport = transport_to(fake)
    body = bytes(range(256)) * 100

    transport.call(calls.put_object("key", body, {}))

    assert bytes(transport.call(GET).body) == body
    assert len({request.client for request in fake.requests}) == 1


@pytest.mark.parametrize(
    "farewell",
    [
        pytest.param([OK, CLOSE], id="closed while idle"),
        pytest.param([OK, RESET], id="reset by the next request"),
        pytest.param([OK, b"HTTP/1.1 200 OK\r\nContent-", CLOSE], id="closed within the next answer"),
    ],
)
def test_a_kept_connection_that_dies_is_replaced_unseen(transport_to, farewell):
    with Scripted([farewell, [OK, OK]]) as server:
        transport = transport_to(server)

        answers = [transport.call(PUT), transport.call(PUT)]

    assert [bytes(answer.body) for answer in answers] == [b"ok", b"ok"]
    assert server.connections == 2


def test_a_connection_that_was_idle_for_long_is_not_trusted(fake):
    now = [100.0]
    transport = Transport(endpoint_of(fake.url), no_boto, clock=lambda: now[0])
    transport.call(PUT)
    now[0] += 59
    transport.call(PUT)
    now[0] += 61
    transport.call(PUT)
    transport.close()

    first, second, third = (request.client for request in fake.requests)
    assert first == second != third


def test_many_dead_connections_do_not_use_up_the_tries_of_a_call(transport_to):
    scripts = [[OK, RESET]] * 6 + [[OK, OK]]
    with Scripted(scripts) as server:
        transport = transport_to(server)
        all_of(transport, [PUT] * 6)

        answer = transport.call(PUT)

    assert answer.status == 200


def test_a_write_that_must_happen_once_is_not_repeated_behind_its_back(transport_to):
    with Scripted([[OK, RESET], [OK]]) as server:
        transport = transport_to(server)
        transport.call(PUT)

        with pytest.raises(RequestError) as lost:
            transport.call(calls.put_object("lock", b"", {"if-none-match": "*"}))

    assert lost.value.fault.code == "Connection"
    assert server.connections == 1


def test_a_new_connection_that_breaks_is_a_fault_worth_a_retry(transport_to):
    with Scripted([[CLOSE_UNREAD]]) as server, pytest.raises(RequestError) as lost:
        transport_to(server).call(PUT)

    assert lost.value.fault.code == "Connection"
    assert lost.value.fault.retryable


def test_a_refusal_that_comes_before_the_body_is_sent_is_the_answer(transport_to):
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = b"x" * (32 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = transport_to(f"http://127.0.0.1:{listener.getsockname()[1]}")
        came = []
        transport.loop.start(catch_request_error(send_request(calls.put_object("key", body, {}))), came.append)
        transport.turn(0.1)
        peer, _ = listener.accept()
        peer.recv(1000)
        peer.sendall(refusal)
        while not came:
            transport.turn(1.0)
        peer.close()

    assert came[0].status == 403


def test_an_answer_before_the_request_was_whole_ends_the_connection(transport_to):
    """What is left of the body must not be read as the next request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = transport_to(f"http://127.0.0.1:{listener.getsockname()[1]}")
        came = []
        transport.loop.start(
            catch_request_error(send_request(calls.put_object("key", b"x" * (32 << 20), {}))), came.append
        )
        transport.turn(0.1)
        peer, _ = listener.accept()
        peer.sendall(OK)
        while not came:
            transport.turn(1.0)

        assert came[0].status == 200
        assert transport._pool.connections == set()
        peer.close()


def test_a_body_after_head_does_not_spoil_the_next_answer(transport_to):
    chatty = b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nNot Found"
    with Scripted([[chatty], [OK]]) as server:
        transport = transport_to(server)

        answers = [transport.call(HEAD), transport.call(GET)]

    assert [(answer.status, bytes(answer.body)) for answer in answers] == [(404, b""), (200, b"ok")]


def test_interim_answers_are_passed_over(transport_to):
    with Scripted([[b"HTTP/1.1 100 Continue\r\n\r\n" + OK]]) as server:
        assert bytes(transport_to(server).call(PUT).body) == b"ok"


@pytest.mark.parametrize(
    "nonsense",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 abc\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", id="no length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n\r\n", id="chunk of less than nothing"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000, id="endless head"),
    ],
)
def test_what_is_no_answer_is_a_fault(transport_to, nonsense):
    with Scripted([[nonsense, wait(2)]]) as server, pytest.raises(RequestError) as lost:
        transport_to(server).call(GET)

    assert (lost.value.fault.code, lost.value.fault.retryable) == ("MalformedAnswer", True)
    assert str(lost.value).startswith("GetObject was answered with ")


# --- addresses -----------------------------------------------------------------------------


def test_a_socket_that_the_selector_forgot_in_an_interrupted_call_is_closed_all_the_same(fake, transport_to):
    transport = transport_to(fake.url)
    all_of(transport, [calls.head_object("k")])
    (line,) = transport._pool.connections

    transport.loop._selector.unregister(line.sock)  # what selectors do where a signal raises within modify()
    transport.close()

    assert line.sock.fileno() == -1


@pytest.fixture
def names(monkeypatch):
    """What the resolver knows, by host name."""
    known = {}

    def resolve(name, port, **_):
        host = name.decode()
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in known[host]]

    monkeypatch.setattr(dialer.socket, "getaddrinfo", resolve)
    return known


def test_a_name_nobody_knows_is_said(names, transport_to):
    with pytest.raises(RequestError, match=r"cannot reach http://s3\.nowhere\.example:80: Name or service not known"):
        transport_to("http://s3.nowhere.example:80").call(GET)


def test_a_name_that_can_be_none_is_said(transport_to):
    with pytest.raises(RequestError, match="is not a valid host name"):
        transport_to(f"http://{'x' * 70}.example").call(GET)


def test_a_port_where_nobody_listens_is_said(transport_to):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(RequestError, match=rf"cannot reach http://127.0.0.1:{port}: Connection refused"):
        transport_to(f"http://127.0.0.1:{port}").call(GET)


def test_all_calls_find_the_address_that_works(names, fake, transport_to):
    names["two.example"] = [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")]
    transport = transport_to(f"http://two.example:{fake.port}")

    answers = all_of(transport, [PUT] * 8)

    assert [answer.status for answer in answers] == [200] * 8
    assert transport._pool._dialer._addresses[0][0] is socket.AF_INET


def test_an_address_is_asked_for_again_and_the_old_one_kept_when_nobody_answers(names, fake, transport_to):
    ahead = 0.0
    names["one.example"] = [(socket.AF_INET, "127.0.0.1")]
    fake.manners = Manners(keeps_connections=False)
    transport = transport_to(f"http://one.example:{fake.port}", clock=lambda: time.monotonic() + ahead)
    transport.call(PUT)

    names.clear()
    ahead = dialer.RESOLVE_EVERY + 1

    assert transport.call(PUT).status == 200


def test_an_ipv6_endpoint_is_reached(transport_to):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        server = FakeS3(host="::1")
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with server:
        transport = transport_to(server)

        assert transport.call(PUT).status == 200
        assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


def test_a_base_path_goes_before_the_bucket(transport_to):
    with Scripted([[OK]]) as server:
        transport_to(server.url + "/storage/s3/").call(PUT)

    assert server.heads[0][1].startswith(b"PUT /storage/s3/bucket/key HTTP/1.1\r\n")


# --- time ----------------------------------------------------------------------------------


def test_silence_ends_a_call(transport_to):
    with Scripted([[wait(30)]]) as server, pytest.raises(RequestError, match=r"no data for 0\.2 s") as lost:
        transport_to(server, timeout=0.2).call(GET)

    assert lost.value.fault.code == "Timeout"
    assert lost.value.fault.retryable


def test_an_answer_that_stalls_halfway_ends_a_call(transport_to):
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"

    with Scripted([[half, wait(30)]]) as server, pytest.raises(RequestError, match=r"no data for 0\.2 s"):
        transport_to(server, timeout=0.2).call(GET)


def test_a_connection_that_nobody_takes_ends_a_call(transport_to, monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        taken = [socket.socket() for _ in range(4)]
        for sock in taken:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))

        with pytest.raises(RequestError, match=r"no connection for 0\.2 s"):
            transport_to(f"http://127.0.0.1:{port}", timeout=0.2).call(GET)
        for sock in taken:
            sock.close()


# --- the store teaches ---------------------------------------------------------------------


def test_the_stores_clock_is_learned_once(fake, transport_to):
    fake.manners = Manners(clock=-3600.0)
    transport = transport_to(fake)

    answers = [transport.call(PUT) for _ in range(3)]

    assert [answer.status for answer in answers] == [200] * 3
    assert len(fake.requests) == 4


def test_the_buckets_region_is_learned_once_by_all_calls_under_way(fake, transport_to):
    fake.manners = Manners(region="eu-south-9")
    transport = transport_to(fake)

    answers = all_of(transport, [PUT] * 6)
    transport.call(PUT)

    assert [answer.status for answer in answers] == [200] * 6
    assert transport.endpoint.region == "eu-south-9"
    assert len(fake.requests) <= 13
    assert not transport.fallback.overruled


@pytest.mark.parametrize("status", [301, 307, 400])
def test_a_region_named_in_a_header_alone_is_learned_too(fake, transport_to, status):
    fake.meddle = lambda request: (
        Reply(status, {"x-amz-bucket-region": "eu-south-9"})
        if "us-east-1" in request.headers["authorization"]
        else None
    )
    fake.manners = Manners(region="eu-south-9")

    assert transport_to(fake).call(HEAD).status == 404


def test_amazons_host_moves_with_the_region():
    endpoint = Endpoint(
        bucket="b-one", region="us-east-1", host="s3.us-east-1.amazonaws.com", port=443, tls=True, path_style=False,
        credentials=None,
    )  # fmt: skip

    assert endpoint.moved_to("eu-west-1").server_name == "b-one.s3.eu-west-1.amazonaws.com"
    assert endpoint._replace(host="s3.us-east-1.example").moved_to("eu-west-1").host == "s3.us-east-1.example"


# --- second opinions -----------------------------------------------------------------------


class Boto:
    """Stands in for the reference lane: says what the test wants, and counts."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers, self.asked, self.made = answers, Counter(), 0

    def __call__(self, endpoint: Endpoint):
        self.made += 1
        return self.carry

    def carry(self, call: calls.Request) -> Response:
        self.asked[call.name] += 1
        answer = self.answers[min(self.asked.total(), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def refusing(status: int, code: str):
    return lambda _: Reply(status, {}, error(code))


GOOD = Response(200, {"etag": '"e"'}, b"by boto3")
BAD = Response(400, {}, error("InvalidArgument"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        pytest.param(400, "InvalidArgument", id="form of the request"),
        pytest.param(411, "MissingContentLength", id="length missing"),
        pytest.param(501, "NotImplemented", id="not implemented"),
        pytest.param(307, "TemporaryRedirect", id="redirect"),
        pytest.param(403, "SignatureDoesNotMatch", id="signature read otherwise"),
    ],
)
def test_what_puzzles_the_lean_lane_is_asked_again_by_boto3_whose_answer_counts(fake, transport_to, status, code):
    fake.meddle, boto = refusing(status, code), Boto(GOOD)
    transport = transport_to(fake, boto)

    answer = transport.call(PUT)

    assert bytes(answer.body) == b"by boto3"
    assert transport.fallback.overruled == {code: 1}


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "EntityTooLarge", "KeyTooLongError", "ExpiredToken"])
def test_what_is_certain_is_not_asked_twice(fake, transport_to, code):
    fake.meddle = refusing(400, code)

    assert transport_to(fake).call(PUT).status == 400


def test_after_some_refusals_that_boto3_had_overruled_boto3_carries_the_rest(fake, transport_to):
    fake.meddle, boto = refusing(400, "InvalidArgument"), Boto(GOOD)
    transport = transport_to(fake, boto)

    for _ in range(OVERRULED + 3):
        transport.call(PUT)

    assert len(fake.requests) == OVERRULED
    assert boto.asked["PutObject"] == OVERRULED + 3
    assert transport.endpoint.lane == "reference"
    assert boto.made == 1
    assert transport.fallback.overruled == {"InvalidArgument": OVERRULED}


def test_after_some_refusals_that_boto3_met_too_it_is_not_asked_any_more(fake, transport_to):
    fake.meddle, boto = refusing(400, "InvalidArgument"), Boto(BAD)
    transport = transport_to(fake, boto)

    answers = [transport.call(PUT) for _ in range(10)]

    assert [answer.status for answer in answers] == [400] * 10
    assert boto.asked["PutObject"] == 3
    assert not transport.fallback.overruled


def test_when_boto3_cannot_ask_the_first_answer_counts(fake, transport_to):
    fake.meddle = refusing(400, "InvalidArgument")
    transport = transport_to(fake, Boto(ValueError("no")))

    assert transport.call(PUT).status == 400


def test_the_reference_lane_opens_its_window_and_narrows_it(fake, transport_to):
    slow = Response(503, {}, error("SlowDown"))
    transport = transport_to(fake, Boto(*[GOOD] * 20, slow), limit=64, lane="reference")

    for _ in range(20):
        transport.call(PUT)
    wide = transport.window.size
    transport.call(PUT)

    assert wide == 28
    assert transport.window.size < wide
    assert fake.requests == []


# --- the window ----------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "size"), [pytest.param(0.0001, 13, id="near"), pytest.param(0.02, 23, id="far")])
@pytest.mark.parametrize("request_to", [PUT, calls.list_objects("")], ids=["a PUT", "a listing"])
def test_the_window_opens_wider_where_the_store_is_far(fake, transport_to, request_to, step, size):
    now = iter(range(10**6))
    transport = transport_to(fake, limit=64, clock=lambda: 100.0 + next(now) * step)

    for _ in range(5):
        assert transport.call(request_to).ok

    assert transport.window.size == size


def test_the_window_opens_with_each_answer_and_halves_once_for_a_burst_of_refusals(fake, transport_to):
    transport = transport_to(fake, limit=64, clock=lambda: 100.0)  # the store is near, however busy this machine is
    all_of(transport, [PUT] * 40)
    wide = transport.window.size

    fake.meddle = refusing(503, "SlowDown")
    all_of(transport, [PUT] * 20)

    assert wide == 48
    assert transport.window.size == pytest.approx(10, abs=1)


def test_after_a_refusal_the_window_grows_slowly(fake, transport_to):
    transport = transport_to(fake, limit=64)
    all_of(transport, [PUT] * 40)
    transport.throttle()
    narrow = transport.window.size

    all_of(transport, [PUT] * 10)

    assert narrow < transport.window.size < narrow + 10


# --- answers without words -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [pytest.param("ExpiredToken", 400, id="expired token"), pytest.param("AccessDenied", 403, id="no permission")],
)
def test_a_refused_head_gets_its_words_from_a_get(fake, transport_to, code, status):
    fake.meddle = lambda request: Reply(status, {}, b"" if request.method == "HEAD" else error(code))

    answer = transport_to(fake).call(HEAD)

    assert (answer.status, fault_of(answer).code) == (status, code)
    assert [(request.name, request.headers.get("range")) for request in fake.requests] == [
        ("HeadObject", None), ("GetObject", "bytes=0-0"),
    ]  # fmt: skip


def test_a_head_refused_for_once_is_asked_again(fake, transport_to):
    transport = transport_to(fake)
    transport.call(PUT)
    refusals = [Reply(400)]
    fake.meddle = lambda request: refusals.pop() if refusals and request.method == "HEAD" else None

    assert transport.call(HEAD).headers["content-length"] == "4"


# --- credentials ---------------------------------------------------------------------------


def test_after_signing_in_again_both_lanes_use_the_new_credentials(fake, transport_to):
    fake.keys["NEWKEY"] = "new-secret"
    seen = []

    def carrier(endpoint):
        seen.append(endpoint.credentials.access_key)
        return Boto(GOOD).carry

    transport = transport_to(fake, carrier)
    transport.call(PUT)
    transport.update_credentials(Credentials("NEWKEY", "new-secret"))
    transport.update_credentials(Credentials("NEWKEY", "new-secret"))

    assert transport.call(PUT).status == 200
    assert "Credential=NEWKEY/" in fake.requests[-1].headers["authorization"]
    assert seen == [ACCESS_KEY, "NEWKEY"]


def test_a_public_bucket_is_asked_without_a_signature(fake, transport_to):
    transport_to(fake, credentials=None).call(HEAD)

    assert "authorization" not in fake.requests[0].headers


# --- TLS -----------------------------------------------------------------------------------


@pytest.fixture
def secure(tls_authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls_authority.issue_cert("127.0.0.1").configure_cert(context)
    with FakeS3(tls=context) as running:
        yield running


def test_a_trusted_store_is_spoken_to_over_tls_on_kept_connections(secure, ca_bundle, transport_to):
    transport = transport_to(secure, ca_bundle=str(ca_bundle))
    body = bytes(range(256)) * 4096

    answers = all_of(transport, [calls.put_object("key", body, {})] * 4)

    assert [answer.status for answer in answers] == [200] * 4
    assert bytes(transport.call(GET).body) == body
    assert {request.headers["x-amz-content-sha256"] for request in secure.requests[:4]} == {"UNSIGNED-PAYLOAD"}
    assert len({request.client for request in secure.requests}) == 4


def test_later_connections_go_on_with_the_tls_session_of_the_first(secure, ca_bundle, transport_to):
    transport = transport_to(secure, ca_bundle=str(ca_bundle))
    transport.call(PUT)

    all_of(transport, [PUT] * 4)

    assert sorted(line.sock.session_reused for line in transport._pool.connections) == [False, True, True, True]


def test_a_store_with_a_strange_certificate_is_not_trusted_and_not_asked_again(secure, transport_to):
    transport = transport_to(secure)

    with pytest.raises(RequestError, match="its certificate is not trusted") as refused:
        transport.call(GET)

    assert refused.value.fault.code == "Untrusted"
    assert not refused.value.fault.retryable
    assert secure.requests == []


def test_a_bundle_that_is_not_there_is_named(secure, transport_to):
    words = r"certificates '/no/such.pem' \(AWS_CA_BUNDLE\) cannot be used: No such file"

    with pytest.raises(RequestError, match=words) as refused:
        transport_to(secure, ca_bundle="/no/such.pem").call(GET)

    assert not refused.value.fault.retryable


def test_without_certificates_of_the_system_botocores_are_used(monkeypatch):
    monkeypatch.setattr(dialer, "_system_has_certificates", lambda: False)

    assert dialer.tls_context("").cert_store_stats()["x509_ca"] > 50


def test_plain_http_to_a_tls_port_is_a_fault(secure, transport_to):
    with pytest.raises(RequestError):
        transport_to(secure.url.replace("https", "http")).call(GET)


def test_tls_to_a_plain_port_is_a_fault(fake, transport_to):
    with pytest.raises(RequestError) as lost:
        transport_to(fake.url.replace("http", "https")).call(GET)

    assert lost.value.fault.code == "Connection"


# --- bandwidth -----------------------------------------------------------------------------

SLOWER = 5
"""So many times slower than allowed a busy machine may be: that nothing goes faster is the promise."""


@pytest.mark.parametrize(
    ("size", "count", "rate", "tls"),
    [
        pytest.param(256 << 10, 6, 3 << 20, False, id="a few large ones"),
        pytest.param(256 << 10, 6, 3 << 20, True, id="a few large ones over TLS"),
        pytest.param(2 << 10, 150, 600 << 10, False, id="many small ones"),
    ],
)
def test_bandwidth_is_kept_to(request, fake, transport_to, ca_bundle, tls, size, count, rate):
    server = request.getfixturevalue("secure") if tls else fake
    transport = transport_to(server, limit=64, bandwidth=rate, ca_bundle=str(ca_bundle) if tls else "")
    started = time.monotonic()

    answers = all_of(transport, [calls.put_object(f"k{n}", b"x" * size, {}) for n in range(count)])
    took = time.monotonic() - started

    sent = count * (size + 450)
    assert all(answer.ok for answer in answers)
    assert rate / SLOWER < sent / took < rate * 1.15


def test_what_comes_counts_too(fake, transport_to):
    transport = transport_to(fake, limit=8, bandwidth=2 << 20)
    transport.call(calls.put_object("key", b"x" * (128 << 10), {}))
    started = time.monotonic()

    for _ in range(12):
        transport.call(GET)

    rate = 11 * (128 << 10) / (time.monotonic() - started)
    assert (2 << 20) / SLOWER < rate < (2 << 20) * 1.2


def test_the_reference_lane_keeps_to_the_bandwidth_on_average(fake, transport_to):
    transport = transport_to(fake, Boto(GOOD), lane="reference", limit=8, bandwidth=2 << 20)
    started = time.monotonic()

    all_of(transport, [calls.put_object("key", b"x" * (128 << 10), {})] * 13)

    rate = 12 * (128 << 10) / (time.monotonic() - started)
    assert (2 << 20) / SLOWER < rate < (2 << 20) * 1.2


def test_bodies_held_back_by_the_bandwidth_go_one_after_the_other(fake, transport_to):
    """A body that has begun must not starve until the store gives it up."""
    transport = transport_to(fake, limit=64, bandwidth=1 << 19, timeout=1.0)
    began = []
    fake.meddle = lambda seen: began.append((time.monotonic(), seen.key))

    answers = all_of(transport, [calls.put_object(f"k{n}", b"x" * (100 << 10), {}) for n in range(10)])

    assert [answer.status for answer in answers] == [200] * 10
    assert [key for _, key in began] == [f"k{n}" for n in range(10)]


# --- coroutines ----------------------------------------------------------------------------


def test_a_coroutine_may_wait_and_use_threads(fake, transport_to):
    transport = transport_to(fake)

    async def several() -> tuple[int, int, str]:
        first = (await send_request(PUT)).status
        await sleep(0.01)
        second = await run_in_thread(lambda: 7)
        try:
            await run_in_thread(lambda: 1 // 0)
        except ZeroDivisionError as error:
            return first, second, str(error)

    assert transport.run(several()) == (200, 7, "integer division or modulo by zero")
    assert transport.loop.active == 0


BATCH = calls.delete_objects(["a", "b & c"])
A_PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>In</html>"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("lane", ["lean", "reference"])
@pytest.mark.parametrize(
    ("request_", "script", "keys"),
    [
        pytest.param(PUT, [[RESET]], ["key"], id="cut"),
        pytest.param(PUT, [[wait(2)]], ["key"], id="timeout"),
        pytest.param(PUT, [[BAD_GATEWAY]], ["key"], id="gateway"),
        pytest.param(PUT, [[A_PAGE]], ["key"], id="page"),
        pytest.param(PUT, [[OK]], [], id="answered"),
        pytest.param(BATCH, [[RESET]], ["a", "b & c"], id="deletes"),
        pytest.param(calls.copy_object("key", "bucket", {}, "other"), [[RESET]], ["key"], id="copy"),
        pytest.param(calls.delete_object("key"), [[RESET]], ["key"], id="delete"),
        pytest.param(HEAD, [[RESET]], [], id="read"),
        pytest.param(calls.upload_part("key", "id", 1, b"body"), [[RESET]], [], id="part"),
        pytest.param(PUT._replace(bucket="backups"), [[RESET]], [], id="another bucket"),
    ],
)
def test_the_keys_of_writes_without_an_answer_are_told_once(transport_to, lane, request_, script, keys):
    with Scripted(script) as server:
        transport = transport_to(server, make_boto_sender, timeout=0.3, lane=lane)
        with suppress(RequestError):
            transport.call(request_)
        told, again = transport.take_tally(), transport.take_tally()

    assert told.unheard == keys
    assert sum(told.requests.values()) == 1
    assert again == ({}, {}, [])


@pytest.mark.parametrize(
    "second",
    [RequestError("PutObject", "key", Fault("Timeout", "no answer")), Response(504, {}, b"")],
    ids=["lost", "gateway"],
)
def test_a_refused_write_that_boto3_sends_again_in_vain_is_told(fake, transport_to, second):
    fake.meddle = refusing(400, "InvalidArgument")
    transport = transport_to(fake, Boto(second))

    assert transport.call(PUT).status in (400, 504)
    assert transport.take_tally().unheard == ["key"]


def test_a_write_that_is_sent_again_on_another_connection_is_told_too(transport_to):
    with Scripted([[OK, RESET], [OK]]) as server:
        transport = transport_to(server)
        statuses = [transport.call(each).status for each in (PUT, PUT)]

    assert statuses == [200, 200]
    assert transport.take_tally().unheard == ["key"]


def test_a_write_whose_body_was_cut_off_is_not_told(transport_to):
    """The next run would wait for a request that no store can carry out."""
    with Scripted([[CLOSE_UNREAD]]) as server:
        transport = transport_to(server)
        with pytest.raises(RequestError, match="no answer from"):
            transport.call(PUT._replace(body=bytes(64 << 20)))

    assert transport.take_tally().unheard == []


def test_a_write_that_was_never_sent_is_not_told(transport_to):
    with Scripted([[OK]]) as server:
        url = server.url
    transport = transport_to(url)
    with pytest.raises(RequestError, match="cannot reach"):
        transport.call(PUT)

    assert transport.take_tally().unheard == []


def test_requests_are_counted_by_their_names(fake, transport_to):
    transport = transport_to(fake)

    all_of(transport, [PUT, PUT, HEAD])

    assert transport.requests == {"PutObject": 2, "HeadObject": 1}


def test_a_closed_transport_leaves_nothing_open(fake, transport_to):
    transport = Transport(endpoint_of(fake.url), Boto(GOOD), limit=4)
    transport.call(PUT)
    transport.run(run_in_thread(lambda: 1))
    sockets = [line.sock for line in transport._pool.connections] + list(transport.loop._waker)

    transport.close()
    gc.collect()

    assert [sock.fileno() for sock in sockets] == [-1] * len(sockets)


@pytest.mark.parametrize("lane", ["lean", "reference"])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("headers", [{"x-amz-meta-a": "b\r\nx-evil: 1"}, {"a\n": "b"}, {"a": "\0"}])
def test_a_request_that_would_be_two_is_not_sent(fake, transport_to, lane, signed, headers):
    credentials = {} if signed else {"credentials": None}
    client = transport_to(fake, lane=lane, **credentials)

    [failed] = all_of(client, [calls.Request("PutObject", "PUT", "k", headers=headers, body=b"x")])

    assert isinstance(failed, RequestError)
    assert (failed.fault.code, failed.fault.retryable) == ("UnsafeRequest", False)
    assert fake.requests == []


@pytest.mark.parametrize("region", ["eu\x01", "evil.example.com/", "a" * 80, "-eu-", "eu west", "é"])
def test_a_region_that_can_be_none_is_not_learned_from_a_store(region):
    answer = calls.Response(301, {}, f"<Error><Code>PermanentRedirect</Code><Region>{region}</Region></Error>".encode())

    assert fault_of(answer).region == ""
