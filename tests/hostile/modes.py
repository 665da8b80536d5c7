"""The ways in which :mod:`tests.hostile.server` misbehaves: what proxies, portals, broken and hostile stores may send.

A mode that ``tells_the_truth`` sends valid answers, however odd; all others may fail a run, and none may make it lie.
"""

from __future__ import annotations

import gzip
import random
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.hostile.server import Exchange, Misbehave
from tests.rig.fake_s3 import Reply, error

MARK = "pwned"
"""Stands in every text that tries to begin a line of its own."""
DIGITS = "9" * 5000
BEGUN = b'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
_ROW = b"<Contents><Key>site/k%d</Key><Size>1</Size><ETag>&quot;e&quot;</ETag></Contents>"
_OTHER_DOCUMENTS = (
    BEGUN + b"<IsTruncated>false</IsTruncated></ListBucketResult>",
    b"<DeleteResult/>",
    b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
    b"<CompleteMultipartUploadResult><ETag>&quot;e&quot;</ETag></CompleteMultipartUploadResult>",
    b"<CopyObjectResult><ETag>&quot;e&quot;</ETag></CopyObjectResult>",
    b"<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>",
    b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
    b"<Tagging><TagSet/></Tagging>",
    b"<html><body>welcome</body></html>",
    b'{"ok": true}',
    b"<a/>",
)
_ALONE = {"ListObjectsV2": 0, "DeleteObjects": 1, "CreateMultipartUpload": 2, "CompleteMultipartUpload": 3,
          "CopyObject": 4, "ListParts": 5, "ListMultipartUploads": 6, "GetObjectTagging": 7}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to misbehave."""

    answer: Misbehave
    slow: bool = False
    """A run may wait for the time limit of each request."""
    truthful: bool = False
    """A run has every reason to succeed."""
    greeting: bytes = b""


MODES: dict[str, Mode] = {}


def mode(name: str = "", **about: object) -> Callable[[Misbehave], Misbehave]:
    """Enter a function into :data:`MODES`."""

    def enter(function: Misbehave) -> Misbehave:
        MODES[name or function.__name__.replace("_", " ")] = Mode(function, **about)  # type: ignore[arg-type]
        return function

    return enter


# --- answers that are none ------------------------------------------------------------------


@mode()
def a_page_of_a_portal(exchange: Exchange) -> bool:
    exchange.reply(200, {"Content-Type": "text/html"}, b"<html><body>please sign in</body></html>")
    return True


@mode()
def a_page_of_a_portal_after_the_deed(exchange: Exchange) -> bool:
    exchange.honest()
    exchange.reply(200, {"Content-Type": "text/html"}, b"<html><body>please sign in</body></html>")
    return True


@mode()
def an_empty_200(exchange: Exchange) -> bool:
    exchange.reply(200, {})
    return True


@mode()
def a_204(exchange: Exchange) -> bool:
    exchange.reply(204, {})
    return True


@mode()
def odd_successes(exchange: Exchange) -> bool:
    exchange.reply(exchange.chance.choice((201, 202, 203, 205, 206, 207, 226, 299)), {}, b"")
    return True


@mode()
def another_calls_document(exchange: Exchange) -> bool:
    own = _ALONE.get(exchange.request.name, -1)
    others = [text for number, text in enumerate(_OTHER_DOCUMENTS) if number != own]
    exchange.reply(200, {"Content-Type": "application/xml"}, exchange.chance.choice(others))
    return True


@mode()
def an_error_in_a_200(exchange: Exchange) -> bool:
    spaces = exchange.chance.choice((b"", b"\n   \n" * 50))
    exchange.reply(200, {"Content-Type": "application/xml"}, spaces + error("InternalError"))
    return True


@mode()
def switching_protocols(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n")
    return True


@mode()
def random_refusals(exchange: Exchange) -> bool:
    chance = exchange.chance
    status = chance.choice((400, 401, 403, 405, 406, 407, 408, 409, 411, 412, 413, 414, 416, 418, 421, 425, 431, 451,
                            500, 501, 502, 504, 505, 511, 599))  # fmt: skip
    code = chance.choice(("", "Odd", "AccessDenied", f"A\n::error::{MARK}", "InternalError", "x" * 3000, "42"))
    body = chance.choice((b"", b"<html>no</html>", error(code, f"line\r\n::error::{MARK}\u2028\x85")))
    headers = {"WWW-Authenticate": 'Basic realm="x'} if status == 401 else {}
    exchange.reply(status, headers, body)
    return True


# --- documents ------------------------------------------------------------------------------


def _document(exchange: Exchange, change: Callable[[bytes, random.Random], bytes]) -> bool:
    reply = exchange.honest()
    exchange.say(replace(reply, body=change(reply.body, exchange.chance)) if _is_xml(reply) else reply)
    return True


def _is_xml(reply: Reply) -> bool:
    return b"<" in reply.body[:100]


@mode()
def cut_short(exchange: Exchange) -> bool:
    reply = exchange.honest()
    exchange.reply(reply.status, dict(reply.headers), reply.body[: len(reply.body) // 2], length=str(len(reply.body)))
    return False


@mode()
def cut_in_half_with_the_length_of_a_half(exchange: Exchange) -> bool:
    return _document(exchange, lambda body, chance: body[: chance.randrange(len(body))])


@mode()
def elements_that_are_never_closed(exchange: Exchange) -> bool:
    return _document(
        exchange, lambda body, chance: re.sub(rb"</[A-Z][a-z]+[^<]*>(?=[^>]*$)", b"", body)[: chance.choice((-5, None))]
    )


@mode()
def numbers_of_5000_digits(exchange: Exchange) -> bool:
    odd = exchange.chance.choice((DIGITS, "1" + "0" * 30, "-1", "1e9", "", "NaN", "0x10", "\u0663", " 7 "))
    return _document(exchange, lambda body, _: re.sub(rb">\d+<", f">{odd}<".encode(), body))


@mode()
def odd_dates(exchange: Exchange) -> bool:
    odd = exchange.chance.choice(("0000-00-00T00:00:00Z", "99999-01-01T00:00:00Z", "soon", "", "2026-13-45T99:99:99Z"))
    return _document(exchange, lambda body, _: re.sub(rb"\d{4}-\d\d-\d\dT[^<]*<", f"{odd}<".encode(), body))


@mode(truthful=True)
def comments_and_instructions(exchange: Exchange) -> bool:
    return _document(
        exchange, lambda body, _: re.sub(rb"(<[A-Z][A-Za-z]+Result[^>]*>)", rb"\1<!-- <Key>x</Key> --><?x y?>", body)
    )


@mode(truthful=True)
def keys_in_cdata(exchange: Exchange) -> bool:
    return _document(exchange, lambda body, _: re.sub(rb"<Key>([^<&]*)</Key>", rb"<Key><![CDATA[\1]]></Key>", body))


@mode(truthful=True)
def a_namespace_prefix(exchange: Exchange) -> bool:
    def prefixed(body: bytes, _: random.Random) -> bytes:
        return re.sub(rb"<(/?)([A-Za-z])", rb"<\1s3:\2", body).replace(b' xmlns="', b' xmlns:s3="', 1)

    return _document(exchange, prefixed)


@mode()
def an_entity_bomb(exchange: Exchange) -> bool:
    entities = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 12))
    body = (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">%s]><ListBucketResult>&e11;</ListBucketResult>' % entities
    )
    exchange.reply(200, {"Content-Type": "application/xml"}, body)
    return True


@mode()
def deeply_nested(exchange: Exchange) -> bool:
    exchange.reply(200, {"Content-Type": "application/xml"}, BEGUN + b"<a>" * 200_000)
    return True


@mode()
def two_megabytes_of_open_rows(exchange: Exchange) -> bool:
    exchange.reply(200, {"Content-Type": "application/xml"}, BEGUN + b"<Contents><Key>" * 140_000)
    return True


@mode()
def other_encodings(exchange: Exchange) -> bool:
    def encoded(body: bytes, chance: random.Random) -> bytes:
        text = body.decode("utf-8", "replace")
        return chance.choice((
            text.encode("utf-16"), text.encode("utf-32"), b"\xef\xbb\xbf" + body, text.replace("UTF-8", "odd-8").encode(),
            body.replace(b"<Key>", b"<Key>\xff\xfe"), body.replace(b"<Key>", b"<Key>\x00"), body.replace(b"<Key>", b"<Key>&#0;"),
            body.replace(b"<Key>", b"<Key>&bogus;"), body.replace(b"<Key>", b"<Key>&#xD800;"),
            body.replace(b"<Key>", b"<Key>&#" + b"9" * 4000 + b";"),
        ))  # fmt: skip

    return _document(exchange, encoded)


@mode()
def control_characters_in_keys(exchange: Exchange) -> bool:
    odd = exchange.chance.choice(
        ("%0A::error::", "%1B%5B2J%0D", "%E2%80%A8", "%00", "%", "%zz", "..%2F..%2F", "%2F%2F", "%FF%FE")
    )
    row = f'<Contents><Key>site/{odd}{MARK}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>"e"</ETag></Contents>'
    return _document(exchange, lambda body, _: body.replace(b"<KeyCount>", row.encode() + b"<KeyCount>"))


@mode()
def keys_of_others(exchange: Exchange) -> bool:
    """Rows that were not asked for: outside the prefix, empty, absurdly long, doubled."""
    odd = exchange.chance.choice(("private/x", "", "site2/y", "site/" + "k" * 100_000, "site", "/"))
    row = f'<Contents><Key>{odd}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>"e"</ETag></Contents>'
    return _document(exchange, lambda body, _: body.replace(b"<KeyCount>", row.encode() * 2 + b"<KeyCount>"))


@mode()
def a_field_is_missing(exchange: Exchange) -> bool:
    def without(body: bytes, chance: random.Random) -> bytes:
        names = sorted(set(re.findall(rb"<([A-Za-z]+)>[^<]*</\1>", body)))
        return re.sub(rb"<%s>[^<]*</%s>" % ((chance.choice(names),) * 2), b"", body) if names else body

    return _document(exchange, without)


# --- lists that lie -------------------------------------------------------------------------


def _list(exchange: Exchange, truncated: bytes, tokens: tuple[str, ...]) -> bool:
    token = tokens[exchange.number % len(tokens)].encode()
    names = (b"NextContinuationToken", b"NextKeyMarker", b"NextUploadIdMarker", b"NextPartNumberMarker")
    more = b"".join(b"<%s>%s</%s>" % (name, token, name) for name in names) if token != b"-" else b""

    def changed(body: bytes, _: random.Random) -> bytes:
        body = re.sub(rb"<Next\w+>[^<]*</Next\w+>", b"", body)
        return re.sub(rb"<IsTruncated>\w*</IsTruncated>", b"<IsTruncated>%s</IsTruncated>%s" % (truncated, more), body)

    return _document(exchange, changed)


@mode()
def a_list_that_loops(exchange: Exchange) -> bool:
    return _list(exchange, b"true", exchange.chance.choice((("a",), ("1", "2"), ("1", "2", "3"))))


@mode()
def a_truncated_list_without_a_token(exchange: Exchange) -> bool:
    return _list(
        exchange, exchange.chance.choice((b"true", b"True", b"1", b" true ")), (exchange.chance.choice(("", "-")),)
    )


@mode()
def a_list_that_does_not_know_whether_it_is_whole(exchange: Exchange) -> bool:
    return _list(exchange, exchange.chance.choice((b"maybe", b"", b"yes")), ("-",))


@mode()
def parts_that_are_not_there(exchange: Exchange) -> bool:
    row = b"<Part><PartNumber>%s</PartNumber><ETag>&quot;%s&quot;</ETag><Size>%s</Size></Part>"
    rows = b"".join(row % odd for odd in (
        (b"1", b"0" * 32, b"5242880"), (b"1", b"1" * 32, b"1"), (b"99999999", b"x", b"-4"), (b"0", b"", b""),
    ))  # fmt: skip
    return _document(exchange, lambda body, _: body.replace(b"</ListPartsResult>", rows + b"</ListPartsResult>"))


@mode()
def uploads_of_nobody(exchange: Exchange) -> bool:
    rows = b"".join(
        b"<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>2026-01-01T00:00:00Z</Initiated></Upload>" % odd
        for odd in ((b"site/a.txt", b"u" * 5000), (b"site/big.bin", b"../../x"), (b"private/x", b"u"), (b"", b""))
    )
    ended = b"</ListMultipartUploadsResult>"
    return _document(exchange, lambda body, _: body.replace(ended, rows + ended))


# --- heads ----------------------------------------------------------------------------------


@mode()
def odd_lengths(exchange: Exchange) -> bool:
    odd = exchange.chance.choice(("1x", "-5", "", "9" * 20, "+3", "0x10", DIGITS, "1, 2", "5 5", "\u0663", "1e3"))
    reply = exchange.honest()
    headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
    exchange.reply(reply.status, headers, reply.body, length=odd)
    return False


@mode()
def two_lengths(exchange: Exchange) -> bool:
    reply = exchange.honest()
    headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
    exchange.reply(reply.status, {**headers, "Content-Length": "3", "content-length": str(len(reply.body))}, reply.body)
    return False


@mode()
def a_length_and_chunks(exchange: Exchange) -> bool:
    reply = exchange.honest()
    headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(reply.body), reply.body)
    exchange.reply(reply.status, {**headers, "Transfer-Encoding": "chunked", "Content-Length": "2"}, body)
    return False


@mode()
def huge_sizes(exchange: Exchange) -> bool:
    reply = exchange.honest()
    length = exchange.chance.choice((10**18, 10**13, 10**30))
    if exchange.request.method == "HEAD":
        exchange.say(replace(reply, headers={**reply.headers, "content-length": str(length)}))
        return True
    exchange.reply(reply.status, dict(reply.headers), reply.body, length=str(length))
    return False


def _etag(exchange: Exchange, etag: str | None) -> bool:
    reply = exchange.honest()
    headers = {name: value for name, value in reply.headers.items() if name.lower() != "etag"}
    exchange.say(replace(reply, headers=headers | ({"ETag": etag} if etag is not None else {})))
    return True


@mode()
def a_wrong_etag(exchange: Exchange) -> bool:
    return _etag(exchange, f'"{exchange.chance.randbytes(16).hex()}"')


@mode()
def no_etag(exchange: Exchange) -> bool:
    return _etag(exchange, None)


@mode()
def an_odd_etag(exchange: Exchange) -> bool:
    return _etag(exchange, exchange.chance.choice(("", '""', "W/x", "x" * 60_000, '"a"b"', "\x1b[2J", "\u00e9", '"')))


@mode()
def a_wrong_checksum(exchange: Exchange) -> bool:
    reply = exchange.honest()
    odd = exchange.chance.choice(("AAAAAAAAAAA=", "", "!!", "x" * 9000))
    headers = {name: odd if name.startswith("x-amz-checksum") else value for name, value in reply.headers.items()}
    exchange.say(replace(reply, headers=headers))
    return True


@mode()
def odd_status_lines(exchange: Exchange) -> bool:
    exchange.honest()
    line = exchange.chance.choice((
        b"HTTP/1.1 999 Odd", b"HTTP/9.9 200 OK", b"HTTP/1.1 abc OK", b"HTTP/1.1 200", b"HTTP/1.1 000 OK", b"HTTP/1.1 2000 OK",
        b"HTTP/1.1  200  OK", b"ICY 200 OK", b"", b"HTTP/1.1 -20 OK", b"HTTP/1.1 " + DIGITS.encode() + b" OK", b"HTTP/1.1 200 " + b"x" * 200_000,
    ))  # fmt: skip
    exchange.send(line + b"\r\nContent-Length: 0\r\n\r\n")
    return False


@mode()
def odd_headers(exchange: Exchange) -> bool:
    exchange.honest()
    odd = exchange.chance.choice((
        b"no colon", b": no name", b"Name : x", b" folded: x", b"\xff\xfe: \xff", b"A: \x00", b"A:" + b"b" * 10_000_000,
        b"ETag: a\rETag: b", b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: gzip", b"Content-Range: bytes x",
        b"Last-Modified: " + DIGITS.encode(), b"Date: never", b"x-amz-request-id: \x1b[2J::error::" + MARK.encode(),
    ))  # fmt: skip
    exchange.send(b"HTTP/1.1 200 OK\r\n" + odd + b"\r\nContent-Length: 0\r\n\r\n")
    return False


@mode()
def no_head_at_all(exchange: Exchange) -> bool:
    exchange.send(
        exchange.chance.choice(
            (b"<html>hello</html>\r\n\r\n", b"\r\n\r\n", b"ok", b"\x00" * 5000, exchange.chance.randbytes(3000))
        )
    )
    return False


@mode(greeting=b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03" + bytes(range(200)))
def a_greeting_of_tls(exchange: Exchange) -> bool:
    exchange.send(b"\x15\x03\x03\x00\x02\x02\x46" + exchange.chance.randbytes(500))
    return False


@mode()
def more_than_was_asked_for(exchange: Exchange) -> bool:
    exchange.say(exchange.honest())
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmore" * 3)
    return True


# --- redirects ------------------------------------------------------------------------------


@mode()
def a_redirect_to_itself(exchange: Exchange) -> bool:
    host = exchange.request.headers.get("host", "")
    exchange.reply(
        exchange.chance.choice((301, 302, 303, 307, 308)), {"Location": f"http://{host}{exchange.request.target}"}
    )
    return True


@mode()
def redirects_to_nowhere(exchange: Exchange) -> bool:
    place = exchange.chance.choice(
        (
            "http://127.0.0.1:9/",
            "",
            "//",
            "http://[::1",
            "file:///etc/passwd",
            "\u2028",
            "/" * 9000,
            "https://127.0.0.1:9/x",
        )
    )
    status = exchange.chance.choice((300, 301, 302, 303, 304, 305, 307, 308))
    exchange.reply(status, {"Location": place} if place else {}, error("TemporaryRedirect", Endpoint="127.0.0.1:9"))
    return True


@mode()
def regions_without_end(exchange: Exchange) -> bool:
    region = exchange.chance.choice((f"r{exchange.number}", "../../x", "a b", "x" * 5000, "", "\u00e9", "a&#10;b"))
    status = exchange.chance.choice((301, 307, 400))
    code = exchange.chance.choice(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
    )
    exchange.reply(status, {"x-amz-bucket-region": region} if "&" not in region else {}, error(code, Region=region))
    return True


@mode()
def a_clock_that_is_never_right(exchange: Exchange) -> bool:
    date = exchange.chance.choice(
        (
            "Sat, 28 Nov 2020 10:00:00 GMT",
            "never",
            "",
            DIGITS,
            "Thu, 01 Jan 1970 00:00:00 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        )
    )
    exchange.reply(403, {"Date": date}, error("RequestTimeTooSkewed", "The difference is too large."))
    return True


# --- floods, stalls, cuts -------------------------------------------------------------------


@mode()
def an_endless_body(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n" + BEGUN)
    while True:
        exchange.send(b"x" * 65536)


@mode()
def an_endless_list(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n\r\n" + BEGUN)
    number = 0
    while True:
        exchange.send(b"".join(_ROW % each for each in range(number, number + 1000)))
        number += 1000


@mode()
def an_endless_refusal(exchange: Exchange) -> bool:
    exchange.send(
        b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\n\r\n<Error><Code>AccessDenied</Code><Message>"
    )
    while True:
        exchange.send(b"no " * 20000)


@mode()
def a_flood_of_continues(exchange: Exchange) -> bool:
    while True:
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 500)


@mode(truthful=True)
def a_few_continues(exchange: Exchange) -> bool:
    exchange.send(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    )
    exchange.say(exchange.honest())
    return True


@mode()
def a_flood_of_headers(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        exchange.send(b"x-amz-meta-a: b\r\n" * 1000)


@mode()
def a_header_without_end(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 200 OK\r\nETag: ")
    while True:
        exchange.send(b"e" * 65536)


@mode(slow=True)  # each byte is the store's, so a response has all of its time
def a_flood_of_chunks(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        exchange.send(b"1;a=b\r\nx\r\n" * 2000)


@mode()
def a_flood_of_trailers(exchange: Exchange) -> bool:
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    while True:
        exchange.send(b"t: u\r\n" * 2000)


@mode()
def odd_chunks(exchange: Exchange) -> bool:
    odd = exchange.chance.choice(
        (
            b"zz\r\nx\r\n",
            b"-1\r\nx\r\n",
            b"f" * 20 + b"\r\nx",
            b"\r\n",
            b"1\r\nxxxx\r\n0\r\n\r\n",
            b"1",
            b"1" * 70_000 + b"\r\n",
        )
    )
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + odd)
    return False


@mode(slow=True)
def a_byte_every_two_seconds(exchange: Exchange) -> bool:
    reply = exchange.honest()
    exchange.send(b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\nETag: " % (reply.status, max(len(reply.body), 5)))
    while True:
        exchange.rest(2)
        exchange.send(b"x")


@mode(slow=True)
def a_slow_body(exchange: Exchange) -> bool:
    reply = exchange.honest()
    exchange.reply(reply.status, dict(reply.headers), b"", length=str(len(reply.body) + 1000))
    for byte in reply.body + b" " * 1000:
        exchange.rest(0.7)
        exchange.send(bytes((byte,)))
    return False


@mode(slow=True)
def silence(exchange: Exchange) -> bool:
    exchange.rest(100)
    return False


@mode()
def a_reset(exchange: Exchange) -> bool:
    if exchange.chance.random() < 0.5:
        exchange.honest()
    exchange.reset()
    return False


@mode()
def a_reset_in_the_midst(exchange: Exchange) -> bool:
    reply = exchange.honest()
    exchange.reply(reply.status, dict(reply.headers), reply.body[:20], length=str(len(reply.body) + 40))
    exchange.reset()
    return False


@mode()
def a_close_without_a_word(exchange: Exchange) -> bool:
    if exchange.chance.random() < 0.5:
        exchange.honest()
    return False


@mode()
def every_second_connection_is_closed(exchange: Exchange) -> bool:
    if exchange.number % 2:
        return False
    exchange.say(exchange.honest())
    return True


# --- encodings and content ------------------------------------------------------------------


@mode()
def gzip_that_nobody_asked_for(exchange: Exchange) -> bool:
    reply = exchange.honest()
    headers = {name: value for name, value in reply.headers.items() if name != "content-length"}
    exchange.reply(reply.status, {**headers, "Content-Encoding": "gzip"}, gzip.compress(reply.body))
    return True


@mode()
def gzip_that_is_none(exchange: Exchange) -> bool:
    reply = exchange.honest()
    exchange.say(
        replace(
            reply, headers={**reply.headers, "content-encoding": exchange.chance.choice(("gzip", "br", "zstd", "odd"))}
        )
    )
    return True


@mode()
def a_bomb_of_gzip(exchange: Exchange) -> bool:
    exchange.reply(200, {"Content-Encoding": "gzip", "Content-Type": "application/xml"}, _BOMB)
    return True


def _bomb() -> bytes:
    """300 MB of spaces; made in small pieces, for what this process had in memory counts as the program's too."""
    packer, spaces = zlib.compressobj(9, wbits=31), b" " * 1_000_000
    return b"".join([*(packer.compress(spaces) for _ in range(300)), packer.flush()])


_BOMB = _bomb()


@mode()
def other_content(exchange: Exchange) -> bool:
    reply = exchange.honest()
    odd = exchange.chance.randbytes(len(reply.body))
    exchange.say(replace(reply, body=odd) if exchange.request.name == "GetObject" and reply.status < 300 else reply)
    return True


@mode()
def ranges_that_are_not_those(exchange: Exchange) -> bool:
    reply = exchange.honest()
    if exchange.request.name != "GetObject" or reply.status >= 300:
        exchange.say(reply)
        return True
    odd = exchange.chance.choice(("bytes 5-9/10", "bytes */3", "bytes 0-", "x", f"bytes 0-{DIGITS}/{DIGITS}"))
    exchange.say(
        replace(
            reply,
            status=exchange.chance.choice((200, 206)),
            headers={**reply.headers, "content-range": odd},
            body=reply.body[1:],
        )
    )
    return True


# --- busy stores ----------------------------------------------------------------------------


@mode()
def always_slow_down(exchange: Exchange) -> bool:
    exchange.reply(503, {"Content-Type": "application/xml"}, error("SlowDown", "Please reduce your request rate."))
    return True


@mode()
def odd_times_to_retry_after(exchange: Exchange) -> bool:
    odd = exchange.chance.choice(
        ("Wed, 21 Oct 2099 07:28:00 GMT", "-1", "1e9", "soon", "0", DIGITS, "", "0.001", "Fri, 99 Xyz")
    )
    if exchange.number % 2 == 0 and not odd[:1].isdigit() and "2099" not in odd:
        exchange.say(exchange.honest())
        return True
    exchange.reply(
        exchange.chance.choice((429, 503)),
        {"Retry-After": odd if "2099" not in odd and odd != DIGITS else "1"},
        error("SlowDown"),
    )
    return True


@mode("each request in another mode")
def _another_each_time(exchange: Exchange) -> bool | None:
    names = [name for name, one in MODES.items() if not one.slow and one.answer is not _another_each_time]
    return MODES[exchange.chance.choice(names)].answer(exchange)
