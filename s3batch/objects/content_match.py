"""The comparison of a local file with an object's content, by digests that are known, without reading it back.

    ETag of an MD5's form ...... the MD5 of the content, unless it is encrypted with KMS
    a whole-object checksum .... that checksum (SHA256, CRC64NVME...)
    an ETag of parts ........... recomputed with the part sizes that could have made it

Equal is always certain. Different is certain only if the evidence is certainly of the content. Otherwise
the result is unknown, and the caller has to find out more or send the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from s3batch.base.named_tuple import NamedTuple
from s3batch.s3.access_headers import CUSTOMER_ALGORITHM
from s3batch.s3.checksums import NAMES, RunningChecksum
from s3batch.s3.etag import hash_blocks, md5_of_etag, multipart_digests, multipart_etag, part_size_candidates
from s3batch.s3.requests import Body

Blocks = Callable[[], Iterable[Body]]
"""The local content from its beginning, each time it is called."""

_NAMES_BY_LENGTH = {8: ("crc32", "crc32c"), 12: ("crc64nvme",), 28: ("sha1",), 44: ("sha256",)}
"""Characters of a checksum in base64, and the algorithms it may be of: the journal notes no name."""


class ContentEvidence(NamedTuple):
    """The facts known about an object's content."""

    etag: str
    checksums: tuple[tuple[tuple[str, ...], str], ...] = ()
    """Values of the whole object in base64, each with the algorithms it may be of."""
    etag_is_md5: bool = True
    """True if an ETag of an MD5's form certainly is one."""

    @classmethod
    def from_head(cls, headers: Mapping[str, str]) -> ContentEvidence:
        """Return the evidence in the headers of a HEAD, whose names are in lower case."""
        whole = headers.get("x-amz-checksum-type", "").upper() != "COMPOSITE"
        found = [(name, headers.get(f"x-amz-checksum-{name}", "")) for name in NAMES]
        checksums = [
            ((name,), value) for name, value in found if whole and name in _NAMES_BY_LENGTH.get(len(value), ())
        ]
        plain = headers.get("x-amz-server-side-encryption", "AES256") == "AES256" and CUSTOMER_ALGORITHM not in headers
        return cls(headers.get("etag", "").strip('"'), tuple(checksums), plain)

    @classmethod
    def from_record(cls, etag: str, checksum: str) -> ContentEvidence:
        """Return the evidence recorded when the object was written; ``checksum`` may be empty."""
        names = _NAMES_BY_LENGTH.get(len(checksum), ())
        return cls(etag, ((names, checksum),) if names else (), etag_is_md5=False)


def is_same_content(blocks: Blocks, size: int, evidence: ContentEvidence, part_size: int) -> bool | None:
    """Return whether ``size`` bytes of local content equal the object's; ``None`` if unknown.

    ``part_size`` is tried first for an object that was sent in parts.
    """
    plain = md5_of_etag(evidence.etag)
    if plain:
        if plain == hash_blocks(iter(blocks())):
            return True
        if evidence.etag_is_md5:
            return False
    for names, value in evidence.checksums[:1]:
        return any(compute_checksum(name, blocks()) == value for name in names)
    return True if are_parts_same(blocks, size, evidence.etag, part_size) else None


def compute_checksum(name: str, blocks: Iterable[Body]) -> str:
    """Return the checksum of blocks in base64."""
    running = RunningChecksum(name)
    for block in blocks:
        running.update(block)
    return running.base64()


def are_parts_same(blocks: Blocks, size: int, etag: str, part_size: int) -> bool:
    """Return whether parts of some usual size, ``part_size`` first, make this ETag of parts."""
    count = etag.rpartition("-")[2]
    if "-" not in etag or not count.isdigit():
        return False
    candidates = part_size_candidates(size, int(count), part_size)[: None if int(count) > 1 else 1]
    return any(multipart_etag(multipart_digests(iter(blocks()), each)) == etag for each in candidates)
