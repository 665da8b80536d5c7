"""A visit of the doctor: the wishes of the settings, the probe object, and the findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from s3batch.commands.doctor.findings import Findings, RequestCheck, RequestOutcome
from s3batch.commands.doctor.probe import Probe, ProbeResponse
from s3batch.model import Attributes
from s3batch.objects.attributes import AttributeRules
from s3batch.objects.headers import make_put_headers
from s3batch.objects.redirects import Redirect, parse_redirects
from s3batch.objects.target import Target
from s3batch.plan.delete_limit import DeleteLimit
from s3batch.quirks import Quirk, QuirkKind
from s3batch.reporting.console import Output
from s3batch.reporting.publish import publish_document
from s3batch.s3 import permissions
from s3batch.s3.bucket import Bucket
from s3batch.s3.faults import refused_for_good
from s3batch.settings.table import Settings
from s3batch.source.filters import Selection


@dataclass(slots=True)
class Visit:
    """The wishes of the settings, the bucket, and the findings so far."""

    settings: Settings
    target: Target
    rules: AttributeRules
    redirects: tuple[Redirect, ...]
    findings: Findings = field(default_factory=Findings)
    headers: dict[str, str] = field(default_factory=dict)
    """The headers of every object, as far as they are the same for all."""
    source_requests: dict[str, int] = field(default_factory=dict)
    """The number of requests to a source in S3, of each kind."""
    _probe: Probe | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Visit:
        """Return the visit. Raises SettingsError for every setting that a job would refuse. The source is not read."""
        target = Target.from_settings(settings)
        Selection.from_settings(settings)
        DeleteLimit.from_settings(settings)
        rules = AttributeRules.from_settings(settings, settings.at_workspace(settings.source))
        visit = cls(settings, target, rules, parse_redirects(settings))
        visit.headers = make_put_headers(visit.plain)
        visit.findings.warnings += target.warnings
        return visit

    @property
    def plain(self) -> Attributes:
        """The attributes of an object that no per-file setting changes."""
        rules = self.rules
        return Attributes(
            content_type="application/octet-stream", encryption=rules.encryption, kms_key_id=rules.kms_key_id
        )

    @property
    def probe(self) -> Probe:
        """After :meth:`admit`."""
        if self._probe is None:
            raise RuntimeError("there is no bucket yet")
        return self._probe

    def admit(self, bucket: Bucket) -> None:
        """Take the bucket to examine."""
        self._probe = Probe(bucket, self.target.prefix)

    def discharge(self) -> None:
        """Remove the written objects, and close the connections."""
        probe = self.probe
        left = probe.clean_up()
        self.findings.warnings += [f"left behind: {each}" for each in left]
        self.findings.requests = dict(Counter(probe.requests()) + Counter(self.source_requests))
        probe.bucket.close()

    def about(self) -> dict[str, Any]:
        """Return bucket and credentials for the document."""
        endpoint = self.probe.bucket.endpoint
        return {"bucket": self.target.bucket, "prefix": self.target.prefix, "endpoint": endpoint.name()}

    # --- noting -----------------------------------------------------------------------------

    def note(
        self, needed_for: str, reply: ProbeResponse, *, needed: bool = True, hint: str = "", effect: str = ""
    ) -> bool:
        """Add the row of a request; ``effect`` names the effect that it lacked although it was carried out."""
        fault, call = reply.fault, reply.call
        outcome = RequestOutcome.REFUSED if fault else RequestOutcome.NO_EFFECT if effect else RequestOutcome.ALLOWED
        lacking = permissions.missing_permissions(call.name, fault.code, fault.message, call.headers) if fault else ()
        check = RequestCheck(
            needed_for=needed_for,
            call=call.name,
            outcome=outcome,
            needed=needed,
            fault=fault,
            words="" if fault else effect,
            permissions=lacking,
            hint="" if outcome is RequestOutcome.ALLOWED else hint,
        )
        self.findings.checks.append(check)
        if fault is not None and not needed and refused_for_good(fault):
            self.found(Quirk(QuirkKind.REFUSED, call.name, f"HTTP {fault.status} {fault.code}"))
        return outcome is RequestOutcome.ALLOWED

    def found(self, quirk: Quirk) -> None:
        """Note a quirk of the store, once."""
        if quirk[:2] not in [each[:2] for each in self.findings.quirks]:
            self.findings.quirks.append(quirk)

    def not_tried(self, needed_for: str, call: str, words: str, *, needed: bool = True, hint: str = "") -> None:
        """Add the row of a request that was not made."""
        self.findings.checks.append(
            RequestCheck(
                needed_for=needed_for,
                call=call,
                outcome=RequestOutcome.NOT_TRIED,
                needed=needed,
                words=words,
                hint=hint,
            )
        )


def publish_findings(visit: Visit, output: Output, seconds: float) -> int:
    """Print the findings of a visit that took so long; return the exit code."""
    found, settings = visit.findings, visit.settings
    publish_document(settings, output, found.document(visit.about(), seconds), found.verdict())
    if not settings.json:
        output.data(*found.table())
        for warning in found.warnings:
            output.warn(warning)
        (output.error if found.exit_code else output.info)(found.verdict())
    return found.exit_code
