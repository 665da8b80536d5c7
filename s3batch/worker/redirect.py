"""Sets a redirect: an empty object that names another place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3batch.model import (
    Attributes,
    Kind,
    Operation,
    Reason,
    RedirectSpec,
    Result,
    require_spec,
)
from s3batch.objects.headers import make_put_headers
from s3batch.objects.redirects import Redirect
from s3batch.s3 import requests
from s3batch.s3.calls import send_request
from s3batch.s3.faults import is_acl_refusal
from s3batch.s3.responses import date_of, etag_of, raise_for_status
from s3batch.worker.conditional import send_while_unchanged, unchanged_since
from s3batch.worker.guard import prepare_change
from s3batch.worker.versions import note_version

if TYPE_CHECKING:
    from s3batch.worker.context import Tools

# --- redirects and deletes -----------------------------------------------------------------


async def put_redirect(operation: Operation, tools: Tools) -> Result:
    """Write an empty object that redirects browsers, unless the same redirect exists."""
    head = await send_request(requests.head_object(operation.key))
    location = require_spec(operation, RedirectSpec).location
    if head.status not in (403, 404):  # who may not look may write all the same, and writing it twice does no harm
        raise_for_status(head, requests.head_object(operation.key))
    if head.ok and head.headers.get("x-amz-website-redirect-location", "") == location:
        return Result(operation.id, etag=etag_of(head), already=True)
    if tools.brief.dry_run:
        return Result(operation.id, become=Kind.REDIRECT, reason=Reason.REDIRECT)
    await prepare_change(operation, head, tools)
    rules, wanted = tools.brief.rules, Redirect(operation.key, location)
    encrypted = make_put_headers(Attributes(encryption=rules.encryption, kms_key_id=rules.kms_key_id))
    acl = "" if tools.acl_refused else rules.redirect_acl(operation.key)
    request = requests.put_object(operation.key, b"", {**encrypted, **wanted.headers(acl)})
    condition = unchanged_since(head) if tools.brief.is_guarded else {}
    response = await send_while_unchanged(request, condition)
    if acl and is_acl_refusal(response):
        request = tools.drop_acl(request)
        response = await send_while_unchanged(request, condition)
    proof = await tools.checks.proofs.prove(request, raise_for_status(response, request), {})
    versions = note_version(operation, response, head)
    return Result(operation.id, etag=etag_of(response), date=date_of(response), warning=proof.warning, spec=versions)
