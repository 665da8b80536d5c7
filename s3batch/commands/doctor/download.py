"""``s3batch doctor s3://BUCKET/PREFIX DIRECTORY``: what a download needs of the source, and of the directory.

It lists the source, looks at its first object and reads a byte of it. In the directory it makes one file and removes it.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING

from s3batch.base.errors import S3BatchError
from s3batch.commands.doctor.findings import Fact, RequestCheck, RequestOutcome
from s3batch.commands.doctor.visit import Visit, publish_findings
from s3batch.files.tree import TargetTree
from s3batch.objects.attributes import AttributeRules
from s3batch.objects.target import Target
from s3batch.plan.download_spec import DownloadSpec
from s3batch.s3 import requests
from s3batch.s3.bucket import Bucket, bucket_refused_error
from s3batch.settings.direction import settings_of_source
from s3batch.worker.object_requests import pin_request

if TYPE_CHECKING:
    from s3batch.model import ListedObject
    from s3batch.reporting.console import Output
    from s3batch.settings.table import Settings

_READ, _WRITE = "fetch objects", "write the directory"


def run_download_doctor(settings: Settings, output: Output, tries: int) -> int:
    """Examine source and directory, and print the findings; return the exit code. ``tries``: of each request."""
    started = time.monotonic()
    wanted = DownloadSpec.from_settings(settings)
    source = settings_of_source(settings)._replace(retries=min(settings.retries, tries))
    target = Target(bucket=wanted.place.bucket, prefix=wanted.prefix)
    visit = Visit(settings, target, AttributeRules.from_settings(settings, wanted.root), ())
    visit.admit(Bucket.from_settings(source, wanted.place.bucket))
    try:
        _examine_source(visit)
        _examine_directory(visit, wanted.root)
    finally:
        visit.discharge()
    return publish_findings(visit, output, time.monotonic() - started)


def _examine_source(visit: Visit) -> None:
    """Check the listing of the source, and reads of its first object."""
    reply = visit.probe.first(requests.list_objects(visit.target.prefix, limit=1))
    if reply.fault is not None and reply.fault.code in {"NoSuchBucket", "NotFound"}:
        raise bucket_refused_error(visit.probe.bucket.endpoint, reply.call.name, reply.fault)
    listed: list[ListedObject] = []
    if visit.note("list the source", reply):
        listed = list(reply.answer.document.objects)
    if not listed:
        for call in ("HeadObject", "GetObject"):
            visit.not_tried(_READ, call, "no object is listed", needed=False)
        return
    first = listed[0]
    visit.note(_READ, visit.probe.ask(pin_request(requests.head_object(first.key), first.etag)))
    get = requests.get_object(first.key, 0, 0) if first.size else requests.get_object(first.key, size=0)
    visit.note(_READ, visit.probe.ask(pin_request(get, first.etag)))


def _examine_directory(visit: Visit, root: str) -> None:
    """Check that the directory can be written, or made."""
    there = root
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    words, blind = "", None
    if there != root:
        words = "" if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written, and {root} is missing"
    else:
        words, blind = _try_directory(root)
    outcome = RequestOutcome.REFUSED if words else RequestOutcome.ALLOWED
    visit.findings.checks.append(RequestCheck(needed_for=_WRITE, call="(local)", outcome=outcome, words=words))
    if blind is not None:
        said = "names that differ only in case are one file" if blind else "names that differ in case are two files"
        visit.findings.facts.append(Fact("case_blind", blind, said))


def _try_directory(root: str) -> tuple[str, bool | None]:
    """Return why the directory cannot be written, and whether its file system sees no difference of case."""
    tree = TargetTree(root)
    try:
        tree.make_root()
        name = f"doctor-{secrets.token_hex(8)}"
        os.close(tree.create(name))
        tree.discard(name)
        blind = tree.is_case_blind()
        tree.remove_temporary()
    except OSError as error:
        return f"{root}: {error.strerror}", None
    except S3BatchError as error:  # something planted is in the place of its own directory
        return str(error), None
    finally:
        tree.close()
    return "", blind
