"""The proof that bytes that were fetched are an object's content.

checksum   the object's checksum of its whole content: CRC64NVME, CRC32, CRC32C, SHA-256, SHA-1
etag       the MD5 in a plain ETag
parts      the MD5s of parts in an ETag of parts, where the size of the parts is found
size       nothing but the size: the store tells nothing else (SSE-KMS in parts, parts of unequal sizes)
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from s3batch.objects.content_match import ContentEvidence, are_parts_same, compute_checksum
from s3batch.s3.checksums import checksum_of, combine_crc64nvme
from s3batch.s3.etag import hash_blocks, md5_of_etag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from s3batch.model import Part
    from s3batch.objects.content_match import Blocks
    from s3batch.s3.requests import Body


class ContentProof(StrEnum):
    """What proves the content of a fetched object."""

    CHECKSUM = "checksum"
    ETAG = "etag"
    PARTS = "parts"
    SIZE = "size"


class WrongContentError(Exception):
    """The bytes that came are not the object's."""


def prove_body(body: Body, headers: Mapping[str, str], part_size: int) -> ContentProof:
    """Return what proves that ``body`` is the content of the object: :func:`prove_bytes` at a third of the price."""
    told = headers.get("x-amz-checksum-crc64nvme")
    if told and headers.get("x-amz-checksum-type") != "COMPOSITE" and checksum_of("crc64nvme", body) == told:
        return ContentProof.CHECKSUM
    return prove_bytes(lambda: [body], len(body), headers, part_size)


def prove_parts(
    parts: Sequence[Part], blocks: Blocks, size: int, headers: Mapping[str, str], part_size: int
) -> ContentProof:
    """Return what proves that these parts are the content: their CRC64NVMEs, else :func:`prove_bytes` of ``blocks``."""
    told = headers.get("x-amz-checksum-crc64nvme", "")
    if told and headers.get("x-amz-checksum-type") != "COMPOSITE" and all(part.checksum for part in parts):
        if combine_crc64nvme((part.checksum, part.size) for part in parts) == told:
            return ContentProof.CHECKSUM
        raise WrongContentError(f"its content does not match its CRC64NVME checksum {told}")
    return prove_bytes(blocks, size, headers, part_size)


def prove_bytes(blocks: Blocks, size: int, headers: Mapping[str, str], part_size: int) -> ContentProof:
    """Return what proves that these blocks, ``size`` bytes, are the content of the object that ``headers`` describe.

    ``part_size`` is tried first for an object that was stored in parts. Raises WrongContentError if they are not.
    """
    evidence = ContentEvidence.from_head(headers)
    for names, value in evidence.checksums[:1]:
        if any(compute_checksum(name, blocks()) == value for name in names):
            return ContentProof.CHECKSUM
        raise WrongContentError(f"its content does not match its {names[0].upper()} checksum {value}")
    plain = md5_of_etag(evidence.etag)
    if plain is not None and evidence.etag_is_md5:
        if hash_blocks(iter(blocks())) == plain:
            return ContentProof.ETAG
        raise WrongContentError(f"its content does not match its ETag {plain}")
    return ContentProof.PARTS if are_parts_same(blocks, size, evidence.etag, part_size) else ContentProof.SIZE
