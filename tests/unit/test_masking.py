"""What is kept of a store's words holds no secret, however the store spells it."""

from __future__ import annotations

from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest

from s3batch.s3 import requests
from s3batch.s3.access_headers import SOURCE_KEY
from s3batch.s3.endpoint import Endpoint
from s3batch.s3.faults import RequestError, fault_of
from s3batch.s3.masking import mask_words, validate_masked
from s3batch.s3.requests import Response
from s3batch.s3.sigv4 import Credentials

KEY, SECRET, TOKEN = "AKIDOFSOMEBODY", "se<c&re/t+key=\"'0", "token/with+signs=="
ENDPOINT = Endpoint(
    "b", "us-east-1", "store", 443, tls=True, path_style=True, credentials=Credentials(KEY, SECRET, TOKEN),
    customer_key="a2V5IG9mIFNTRS1D",
)  # fmt: skip
SPELLINGS = [
    SECRET,
    escape(SECRET),
    escape(SECRET, {'"': "&quot;", "'": "&apos;"}),
    quote(SECRET, safe=""),
    quote(SECRET, safe="").lower(),
    "".join(each if each.isalnum() else f"&#{ord(each)};" for each in SECRET),
    "".join(each if each.isalnum() else f"&#X{ord(each):04x};" for each in SECRET),
]


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_each_spelling_of_a_secret_is_masked(spelled):
    assert mask_words(f"no: {spelled}.", (SECRET,)) == "no: ***."


@pytest.mark.parametrize("word", [KEY, *SPELLINGS, TOKEN, ENDPOINT.customer_key, "the source's key"])
@pytest.mark.parametrize("status", [403, 500, 404, 200])
def test_a_refusal_repeats_no_secret(word, status):
    body = f"<Error><Code>AccessDenied</Code><Message>no: {word}</Message></Error>".encode()
    request = requests.put_object("k", b"x", {SOURCE_KEY: "the source's key"})

    fault = fault_of(validate_masked(request, Response(status, {"x-amz-request-id": f"id {word}"}, body), ENDPOINT))

    assert (fault.code, fault.message, fault.request_id) == ("AccessDenied", "no: ***", "id ***")


def test_an_error_inside_an_answer_to_deletes_repeats_no_secret_and_keeps_its_key():
    body = f"""<DeleteResult><Error><Key>k/{KEY}</Key><Code>{TOKEN}</Code><Message>no: {escape(SECRET)}</Message></Error>
        <Error><Key>l</Key></Error></DeleteResult>""".encode()

    answer = validate_masked(requests.delete_objects([f"k/{KEY}", "l"]), Response(200, {}, body), ENDPOINT)

    assert answer.document == [{"Key": f"k/{KEY}", "Code": "***", "Message": "no: ***"}, {"Key": "l"}]


def test_an_answer_that_is_not_s3s_is_quoted_without_secrets():
    request = requests.get_object("k")._replace(headers={"range": "bytes=0-9"})
    answer = Response(206, {"content-range": f"bytes {TOKEN}", "etag": '"e"', "content-length": "10"}, b"0123456789")

    with pytest.raises(RequestError) as caught:
        validate_masked(request, answer, ENDPOINT)

    assert "***" in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert TOKEN not in caught.value.fault.message


def test_words_that_are_too_short_and_answers_without_credentials_stay():
    answer = Response(403, {}, b"<Error><Code>AccessDenied</Code><Message>no: abc</Message></Error>")
    for credentials in (Credentials("abc", "no"), None):
        endpoint = ENDPOINT._replace(credentials=credentials, customer_key="")
        assert validate_masked(requests.head_object("k"), answer, endpoint) == answer
