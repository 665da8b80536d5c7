"""An answer is the same however the network cuts it up, and never one byte more or less than was sent."""

from __future__ import annotations

import http.client
import io

from hypothesis import example, given
from hypothesis import strategies as st

from s3batch.s3.requests import Response, get_object
from s3batch.s3.response_parser import ResponseParser

NAME = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map("x-".__add__)
VALUE = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), max_size=20).filter(str.isprintable)
HEADERS = st.dictionaries(NAME, VALUE.map(str.strip), max_size=5)
STATUS = st.sampled_from([200, 206, 301, 400, 403, 404, 412, 500, 503])
BODY = st.one_of(st.binary(max_size=300), st.just(b"\r\n\r\n0\r\n\r\n"), st.just(b"HTTP/1.1 200 OK\r\n\r\n"))
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=50)


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def chunks(body: bytes, sizes: list[int]) -> bytes:
    out, at = b"", 0
    for size in [*sizes, len(body)]:
        piece = body[at : at + size]
        at += len(piece)
        if piece:
            out += b"%x;extension=1\r\n%s\r\n" % (len(piece), piece)
    return out + b"0\r\nTrailer: x\r\n\r\n"


def fed(reply: ResponseParser, data: bytes, cuts: list[int]) -> Response | None:
    """What comes of feeding ``data`` in slices; it must be whole with the last byte, not before."""
    at, answer = 0, None
    for size in [*cuts, len(data)]:
        piece = data[at : at + size]
        at += len(piece)
        if piece:
            assert answer is None
            answer = reply.feed(piece)
    return answer


@given(status=STATUS, headers=HEADERS, body=BODY, cuts=CUTS)
def test_a_body_of_known_length(status, headers, body, cuts):
    reply = ResponseParser(no_body=False)

    answer = fed(reply, head(status, {**headers, "content-length": str(len(body))}) + body, cuts)

    assert answer is not None
    assert (answer.status, bytes(answer.body), reply.keep) == (status, body, True)
    assert {name: answer.headers[name] for name in headers} == headers


@given(headers=HEADERS, body=BODY, cuts=CUTS, more=st.binary(max_size=5))
def test_a_body_of_the_expected_length_comes_into_the_memory_for_it(headers, body, cuts, more):
    memory = memoryview(bytearray(len(body)))
    request = get_object("k", 0, len(body) - 1)._replace(expected=len(body), into=memory)
    reply = ResponseParser(no_body=False, request=request)
    start = head(206, {**headers, "content-length": str(len(body))})

    answer = fed(reply, start + body[:-1], cuts) or reply.feed(body[-1:] + more)

    assert answer is not None
    assert bytes(answer.body) == body
    assert not body or not more or not reply.keep


@given(status=STATUS, headers=HEADERS, body=BODY, cuts=CUTS, sizes=CUTS)
def test_a_body_in_chunks(status, headers, body, cuts, sizes):
    reply = ResponseParser(no_body=False)

    answer = fed(reply, head(status, {**headers, "Transfer-Encoding": "chunked"}) + chunks(body, sizes), cuts)

    assert answer is not None
    assert (answer.status, bytes(answer.body), reply.keep) == (status, body, True)


@given(status=STATUS, headers=HEADERS, body=BODY, cuts=CUTS)
def test_a_body_that_ends_with_the_connection(status, headers, body, cuts):
    reply = ResponseParser(no_body=False)

    assert fed(reply, head(status, headers) + body, cuts) is None
    answer = reply.end()

    assert answer is not None
    assert (answer.status, bytes(answer.body), reply.keep) == (status, body, False)


@given(status=STATUS, headers=HEADERS, cuts=CUTS, length=st.integers(0, 10**13))
def test_an_answer_to_head_has_no_body_whatever_its_length_says(status, headers, cuts, length):
    reply = ResponseParser(no_body=True)

    answer = fed(reply, head(status, {**headers, "content-length": str(length)}), cuts)

    assert answer is not None
    assert (bytes(answer.body), answer.headers["content-length"], reply.keep) == (b"", str(length), True)


@given(body=BODY, cuts=CUTS, interim=st.integers(1, 3))
def test_interim_answers_are_passed_over(body, cuts, interim):
    reply = ResponseParser(no_body=False)
    data = b"HTTP/1.1 100 Continue\r\n\r\n" * interim + head(200, {"content-length": str(len(body))}) + body

    answer = fed(reply, data, cuts)

    assert answer is not None
    assert bytes(answer.body) == body


@given(body=BODY, missing=st.integers(1, 300), cuts=CUTS, chunked=st.booleans())
def test_a_cut_answer_is_none(body, missing, cuts, chunked):
    framing = {"transfer-encoding": "chunked"} if chunked else {"content-length": str(len(body))}
    data = head(200, framing) + (chunks(body, [7]) if chunked else body)
    reply = ResponseParser(no_body=False)

    assert fed(reply, data[: max(0, len(data) - missing)], cuts) is None
    assert reply.end() is None


WILD = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=200).map(b"HTTP/1.1 ".__add__),
    st.builds(bytes.__add__, st.builds(head, STATUS, HEADERS), st.binary(max_size=200)),
    st.builds(
        lambda length, body: head(200, {"content-length": str(length)}) + body, st.integers(0, 99), st.binary(max_size=200)
    ),
)  # fmt: skip


@example(data=b"HTTP/1.1 200 OK\r\n\r\nto the end", cuts=[99])
@example(data=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nbody", cuts=[99])
@given(data=WILD, cuts=CUTS)
def test_anything_else_is_refused_or_waited_for_and_never_loops(data, cuts):
    reply, sent, answer = ResponseParser(no_body=False), 0, None
    try:
        for size in [*cuts, len(data)]:
            if answer is None and sent < len(data):
                answer = reply.feed(data[sent : sent + size])
                sent += size
    except ValueError:
        return
    answer = answer or reply.end()

    # what it takes for an answer has a status line, and no byte that did not come
    assert answer is None or data.startswith(b"HTTP/1.")
    assert answer is None or len(answer.body) < min(sent, len(data))


class Wire:
    """What http.client takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self.data)


@given(status=STATUS, headers=HEADERS, body=BODY, sizes=CUTS, chunked=st.booleans())
def test_python_itself_reads_the_same(status, headers, body, sizes, chunked):
    framing = {"transfer-encoding": "chunked"} if chunked else {"content-length": str(len(body))}
    data = head(status, headers | framing) + (chunks(body, sizes) if chunked else body)

    ours = ResponseParser(no_body=False).feed(data)
    theirs = http.client.HTTPResponse(Wire(data))
    theirs.begin()

    assert ours is not None
    assert (ours.status, bytes(ours.body)) == (theirs.status, theirs.read())
