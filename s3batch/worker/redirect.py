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
from s3batch.s3.faults import is_acl_refusal
from s3batch.s3.responses import date_of, etag_of, raise_for_status, send_expecting_ok
from s3batch.s3.transport import send_request
from s3batch.worker.guard import prepare_change
from s3batch.worker.metadata_copy import (
    ACL_WARNING,
)

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
    rules, wanted, warning = tools.brief.rules, Redirect(operation.key, location), ""
    encrypted = make_put_headers(Attributes(encryption=rules.encryption, kms_key_id=rules.kms_key_id))
    acl = rules.redirect_acl(operation.key)
    if acl and not tools.acl_refused:
        request = requests.put_object(operation.key, b"", {**encrypted, **wanted.headers(acl)})
        response = await send_request(request)
        if not is_acl_refusal(response):
            proof = await tools.checks.proofs.prove(request, raise_for_status(response, request), {})
            return Result(operation.id, etag=etag_of(response), date=date_of(response), warning=proof.warning)
        tools.acl_refused, warning = True, ACL_WARNING
    request = requests.put_object(operation.key, b"", {**encrypted, **wanted.headers("")})
    response = await send_expecting_ok(request)
    proof = await tools.checks.proofs.prove(request, response, {})
    return Result(operation.id, etag=etag_of(response), date=date_of(response), warning=warning or proof.warning)
