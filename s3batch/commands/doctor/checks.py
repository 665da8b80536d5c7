"""The checks of a visit, in order. Each sends a request of jobs for the probe, and notes the result.

    list ─> what the bucket does by itself ─> upload ─┬─> head, get, copy, attributes, redirect, parts, conditions
                                                      └─> delete ─> names, batch

Without the first upload nothing else is tried, and without the first delete no second key is written: it would stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from s3batch.commands.doctor import environment
from s3batch.commands.doctor.multipart_checks import check_multipart
from s3batch.commands.doctor.probe import BODY
from s3batch.commands.doctor.source_checks import check_source
from s3batch.commands.doctor.visit import Visit
from s3batch.model import Attributes
from s3batch.objects import compare
from s3batch.objects.acl import canned_acl, same_acl
from s3batch.objects.headers import RemoteAttributes, make_foreign_headers, make_put_headers, name_header_aspect
from s3batch.quirks import ACL, TAGS, Quirk, QuirkKind
from s3batch.s3 import permissions, requests
from s3batch.s3.bucket import bucket_refused_error
from s3batch.s3.checksums import WHOLE_OBJECT, checksum_of
from s3batch.s3.endpoint import SIGN_UP_TO
from s3batch.s3.etag import hash_blocks, md5_of_etag
from s3batch.s3.faults import ACLS_DISABLED, Fault
from s3batch.settings.direction import is_in_s3

_UNSEEN = "it is sent, but no longer compared"
_VALUES = 10
"""Values of one setting that are tried; a site may have thousands."""
_IN_HEADERS = (*WHOLE_OBJECT, "sha256")
"""Checksums that travel in a header of their own."""
_NO_BATCHES = frozenset({400, 405, 501})
"""Statuses of DeleteObjects after which a job deletes one by one."""
_UPLOAD = "upload"

# --- all of it -----------------------------------------------------------------------------


def run_checks(visit: Visit) -> None:
    """Run every check. Raises EndpointError if the endpoint does not answer, refuses the sign-in or has no bucket."""
    check_listing(visit)
    if is_in_s3(visit.settings.source):
        check_source(visit)
    environment.about_us(visit)
    environment.note_versioning(visit)
    environment.note_lifecycle(visit)
    keeps = environment.object_lock(visit)
    if keeps:
        visit.not_tried(_UPLOAD, "PutObject", f"the bucket's object lock would keep a probe for {keeps}")
    elif check_upload(visit):
        for check in _WITH_A_PROBE:
            check(visit)
    environment.note_cloudfront(visit)


def check_listing(visit: Visit) -> None:
    """Check the listing, and with it reachability and sign-in."""
    reply = visit.probe.first(requests.list_objects(visit.target.prefix, limit=1))
    fault = reply.fault
    if fault is not None and fault.code in {"NoSuchBucket", "NotFound"}:
        raise bucket_refused_error(visit.probe.bucket.endpoint, reply.call.name, fault)
    visit.note("list the target", reply)


# --- the first upload ----------------------------------------------------------------------


def check_upload(visit: Visit) -> bool:
    """Write the probe as jobs write; if that is refused, look for a setting with which it works."""
    reply = visit.probe.put(visit.headers)
    if reply.fault is None:
        return visit.note(_UPLOAD, reply)
    hint = next(_mend_upload(visit, reply.fault), "")
    if hint and reply.fault.code in permissions.DENIED:
        return visit.note(f"{_UPLOAD} ({hint})", reply._replace(fault=None))
    visit.note(_UPLOAD, reply, hint=hint)
    return bool(hint)


def _mend_upload(visit: Visit, fault: Fault) -> Iterator[str]:
    """Yield the ways in which the store accepts a refused upload; the visit goes on with the one that was named."""
    probe = visit.probe
    if fault.code in permissions.DENIED:
        # a policy may require attributes that the settings give to every object: an ACL, tags, a storage class
        whole = make_put_headers(visit.rules.attributes("s3batch-doctor"))
        if whole != visit.headers and probe.put(whole).fault is None:
            visit.headers = whole
            yield "only with the headers that all files get"
        return
    for words, changes in _WAYS:
        other = probe.otherwise(**changes)
        if probe.put(visit.headers, bucket=other).fault is None:
            probe.bucket = other
            yield f"it works with {words}"
    if visit.headers and probe.put({}).fault is None:
        visit.headers = {}
        yield "it works without encryption"


_WAYS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sign_payload: always", {"sign_payload": "always"}),
    ("checksum: md5", {"checksum": "md5"}),
    ("checksum: none", {"checksum": ""}),
    ("sign_payload: always and checksum: none", {"sign_payload": "always", "checksum": ""}),
)


# --- with a probe --------------------------------------------------------------------------


def check_unsigned(visit: Visit) -> None:
    """Check uploads with an unsigned body: larger bodies go unsigned, over TLS small ones too."""
    endpoint = visit.probe.bucket.endpoint
    if endpoint.signs_body(SIGN_UP_TO + 1):
        return
    over_http = endpoint.signs_body(1)
    reply = visit.probe.put(visit.headers, bucket=visit.probe.otherwise(sign_payload="never") if over_http else None)
    visit.note("upload without signing the content", reply, hint="set sign_payload: always")


def check_head(visit: Visit) -> None:
    """Compare the stored object with the sent one."""
    reply = visit.probe.ask(requests.head_object(visit.probe.key))
    headers = reply.answer.headers
    length = headers.get("content-length", "")
    effect = f"{length} bytes are stored, {len(BODY)} were sent" if length != str(len(BODY)) else ""
    if not visit.note("compare", reply, effect=effect):
        return
    visit.findings.fact("etag_is_md5", md5_of_etag(headers.get("etag", "")) == hash_blocks(iter([BODY])))
    name = visit.probe.bucket.endpoint.checksum
    if name in _IN_HEADERS:
        visit.findings.fact("gives_checksums_back", f"x-amz-checksum-{name}" in headers)


def check_fetch(visit: Visit) -> None:
    """Read the object, and a range of it, as a restore of a cache does."""
    reply = visit.probe.ask(requests.get_object(visit.probe.key))
    effect = "" if reply.answer.body == BODY else "the content read back differs from the content sent"
    visit.note("read", reply, effect=effect)
    piece = visit.probe.ask(requests.get_object(visit.probe.key, 2, 5))
    visit.findings.fact("ranges", piece.fault is None and piece.answer.body == BODY[2:6])


def check_copy(visit: Visit) -> None:
    """Change metadata in place, and check that the copy keeps attributes of other programs."""
    probe = visit.probe
    wanted = visit.plain._replace(content_type="text/x-probe", content_type_configured=True)
    tagged = probe.put({**visit.headers, **_FOREIGN, "x-amz-tagging": "probe=1"}).fault is None
    if not tagged:
        probe.put({**visit.headers, **_FOREIGN})
    headers = {**visit.headers, **_FOREIGN, **make_put_headers(wanted), "x-amz-metadata-directive": "REPLACE"}
    reply = probe.ask(requests.copy_object(probe.key, visit.target.bucket, headers))
    instead = reply.fault is not None and reply.fault.status in _NOT_SUPPORTED
    effect = _not_given_back(visit, wanted, QuirkKind.COPY_DROPS) if reply.fault is None else ""
    visit.note(
        "change metadata in place", reply, effect=effect, needed=not (instead or effect),
        hint="the file is sent again instead" if instead or effect else "",
    )  # fmt: skip
    if reply.fault is None and tagged:
        read = probe.ask(requests.get_object_tagging(probe.key))
        if read.fault is None and not read.answer.document:
            visit.found(Quirk(QuirkKind.COPY_DROPS, TAGS))


_FOREIGN = {"content-disposition": "inline", "x-amz-meta-probe": "2"}
"""Attributes that other programs may have given an object."""
_NOT_SUPPORTED = frozenset({405, 501})  # Method Not Allowed, Not Implemented


def _not_given_back(visit: Visit, wanted: Attributes, kind: QuirkKind) -> str:
    """Return the attributes that were sent and that the probe lacks; empty: none, or unknown."""
    found = visit.probe.ask(requests.head_object(visit.probe.key))
    if found.fault is not None:
        return ""
    remote = RemoteAttributes.from_headers(found.answer.headers)
    lost = {change.name: str(change) for change in compare.find_attribute_changes(wanted, remote)}
    if kind is QuirkKind.COPY_DROPS:
        shown = make_foreign_headers(wanted, remote)
        lost |= {name: f"{name} is lost" for name, value in _FOREIGN.items() if shown.get(name) != value}
    for name in lost:
        visit.found(Quirk(kind, name_header_aspect(name)))
    return ", ".join(lost.values())


def check_attributes(visit: Visit) -> None:
    """Check each value of each per-file setting, on an object of its own."""
    for name, value in _attribute_values(visit):
        changed = {"gzip": False, "content_encoding": "gzip"} if name == "gzip" else {name: value}
        wanted = visit.plain._replace(content_type_configured=name == "content_type", **changed)
        if name == "acl":
            _check_acl(visit, wanted)
            continue
        reply = visit.probe.put({**visit.headers, **make_put_headers(wanted)})
        effect = _not_given_back(visit, wanted, QuirkKind.NOT_ECHOED) if reply.fault is None else ""
        needed_for = f"{name.replace('_', ' ')} {_format_value(value)}".rstrip()
        visit.note(needed_for, reply, effect=effect, needed=not effect, hint=_UNSEEN if effect else "")
        if name == "tags" and reply.fault is None:
            _check_tagging(visit, value)


def _check_tagging(visit: Visit, wanted: tuple[tuple[str, str], ...]) -> None:
    """Check tags: comparing them takes another request, and a copy that keeps them other permissions."""
    read = visit.probe.ask(requests.get_object_tagging(visit.probe.key))
    found = read.answer.document
    effect = (
        "the answer is not a list of tags"
        if found is None
        else "the store does not keep them"
        if found != wanted
        else ""
    )
    hint = "tags are not compared" if found is None else _UNSEEN
    if found is not None and effect:
        visit.found(Quirk(QuirkKind.NOT_ECHOED, TAGS))
    visit.note(f"compare tags {_format_value(wanted)}", read, needed=not effect, effect=effect, hint=hint)
    headers = {**visit.headers, "x-amz-metadata-directive": "REPLACE"}
    copied = visit.probe.ask(requests.copy_object(visit.probe.key, visit.target.bucket, headers))
    unsupported = copied.fault is not None and copied.fault.status in _NOT_SUPPORTED
    visit.note("change metadata of a tagged object", copied, needed=not unsupported)


def _attribute_values(visit: Visit) -> Iterator[tuple[str, Any]]:
    if visit.rules.encryption:
        yield "encryption", visit.rules.encryption
    for name, choice in visit.rules.choices.items():
        values = [value for value in dict.fromkeys(choice.exact.values()) if value]
        yield from ((name, value) for value in values[:_VALUES])
        if len(values) > _VALUES:
            visit.findings.warnings.append(f"of {len(values)} values of {name} the first {_VALUES} were tried")


def _format_value(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"{name}={text}" for name, text in value)
    return "" if value is True else str(value)


def _check_acl(visit: Visit, wanted: Attributes) -> None:
    """Check ACLs. A bucket without ACLs is no failure: uploads go on without."""
    reply = visit.probe.put({**visit.headers, **make_put_headers(wanted)})
    disabled = reply.fault is not None and reply.fault.code == ACLS_DISABLED
    hint = "the bucket has ACLs disabled, objects are stored without; remove acl" if disabled else ""
    if not visit.note(f"acl {wanted.acl}", reply, needed=not disabled, hint=hint):
        return
    read = visit.probe.ask(requests.get_object_acl(visit.probe.key))
    found = canned_acl(bytes(read.answer.body)) if read.fault is None else ""
    effect = "" if found else "the answer is not an access control policy"
    if found and not same_acl(wanted.acl, found):
        effect = f"the object's ACL is {found}"
        visit.found(Quirk(QuirkKind.NOT_ECHOED, ACL))
    hint = _UNSEEN if found else "ACLs are not compared"
    visit.note(f"compare acl {wanted.acl}", read, needed=not effect, effect=effect, hint=hint)


def check_redirect(visit: Visit) -> None:
    """Check the first redirect for all of them."""
    if not visit.redirects:
        return
    wanted = visit.redirects[0]
    acl = visit.rules.redirect_acl(wanted.key)
    reply = visit.probe.put(visit.headers | wanted.headers(acl), b"")
    if reply.fault is not None and reply.fault.code == ACLS_DISABLED:
        reply = visit.probe.put(visit.headers | wanted.headers(""), b"")
    found = visit.probe.ask(requests.head_object(visit.probe.key)).answer.headers
    kept = found.get("x-amz-website-redirect-location", "") == wanted.location
    visit.note("redirects", reply, effect="" if kept else "the store does not keep its location")
    outside = [each.key for each in visit.redirects if not each.key.startswith(visit.target.prefix)]
    if outside:
        visit.findings.warnings.append(
            f"redirects such as {outside[0]!r} are written outside the target, where nothing was tried"
        )


def check_conditions(visit: Visit) -> None:
    """Check whether the store refuses a second writer that would replace the first one's object."""
    reply = visit.probe.put({**visit.headers, "if-none-match": "*"})
    if reply.answer.status == 412:
        visit.findings.fact("conditional_writes", True)
    elif reply.fault is None:
        visit.findings.fact("conditional_writes", False, "ignored: of two writers of one cache the last one wins")
    else:
        visit.findings.fact("conditional_writes", False, f"refused: {reply.fault}")


def check_checksums(visit: Visit) -> None:
    """Check whether the store verifies checksums, with a wrong one."""
    probe = visit.probe
    name = probe.bucket.endpoint.checksum
    refuses = []
    if name in _IN_HEADERS:
        wrong = {f"x-amz-checksum-{name}": checksum_of(name, b"something else")}
        refuses.append(_refuses_upload(visit, wrong))
        visit.findings.fact("verifies_checksums", refuses[0], f"{'yes' if refuses[0] else 'no'} ({name})")
    refuses.append(_refuses_upload(visit, {"content-md5": requests.md5_header(b"something else")}))
    visit.findings.fact("verifies_md5", refuses[-1])
    if not refuses[0] and name:
        visit.findings.warnings.append(
            f"the store does not verify {name}: uploads are checked by their ETag instead, where it is an MD5"
        )


def _refuses_upload(visit: Visit, wrong: dict[str, str]) -> bool:
    reply = visit.probe.once(requests.put_object(visit.probe.key, BODY, {**visit.headers, **wrong}))
    return reply.fault is not None and 400 <= reply.fault.status < 500


# --- deletes -------------------------------------------------------------------------------


def check_deletes(visit: Visit) -> None:
    """Check a single delete, then keys that are hard to keep, and all of those in one request."""
    needed = visit.settings.delete
    reply = visit.probe.ask(requests.delete_object(visit.probe.key))
    effect = "the object is still there" if visit.probe.ask(requests.head_object(visit.probe.key)).answer.ok else ""
    if not visit.note("delete", reply, needed=needed, effect=effect):
        visit.not_tried("delete many at once", "DeleteObjects", "more test objects would stay", needed=False)
        return
    stored = check_key_names(visit)
    if not stored:
        return
    batch = visit.probe.ask(requests.delete_objects(stored))
    one_by_one = batch.fault is not None and batch.fault.status in _NO_BATCHES
    if visit.note(
        "delete many at once", batch, needed=needed and not one_by_one, hint="objects are deleted one by one"
    ):
        visit.probe.forget(stored)


_NAMES = ("a", "a b+c%20", "a!b", "a/b", "B", "é", "\uff61", "\U0001f600", "new\nline", "x//y", "under_score~")
"""Capitals, a separator, what URLs and XML encode, and two letters that UTF-8 and UTF-16 put in different order."""


def check_key_names(visit: Visit) -> list[str]:
    """Store difficult keys and return them; check that the listing shows each as written, in the order of bytes."""
    probe = visit.probe
    keys = [f"{probe.folder}names/{name}" for name in _NAMES]
    stored = [key for key in keys if probe.put(visit.headers, b"", key=key).fault is None]
    reply = probe.ask(requests.list_objects(f"{probe.folder}names/"))
    page = reply.answer.document
    if page is None:
        visit.findings.fact("keeps_any_name", None, "unknown, the listing cannot be read")
        return stored
    shown = [each.key for each in page.objects]
    lost = [key.partition("/names/")[2] for key in keys if key not in shown]
    visit.findings.fact("keeps_any_name", not lost, f"no, it loses {', '.join(map(repr, lost))}" if lost else "")
    in_order = shown == sorted(shown, key=lambda key: key.encode("utf-8", "surrogateescape"))
    visit.findings.fact("lists_in_byte_order", in_order, "" if in_order else "no, so large listings are not split")
    visit.findings.fact("encodes_listed_names", b"<EncodingType>" in bytes(reply.answer.body))
    return stored


_WITH_A_PROBE: tuple[Callable[[Visit], None], ...] = (
    check_unsigned,
    check_head,
    check_fetch,
    check_copy,
    check_attributes,
    check_redirect,
    check_multipart,
    check_checksums,
    check_conditions,
    check_deletes,
)
