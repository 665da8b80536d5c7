"""A bucket as the tests see it: through plain boto3, never through the program under test."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.rig.servers import Server

_LOOKS = 20
"""moto was wrong 8 times of 150 beside four readers."""


@cache
def client(
    server: Server, service: str = "s3", *, request_checksum_calculation: str = "when_required", **options: Any
) -> Any:
    """A boto3 client that asks in the way every server understands; making one costs 0.2 s, so it is made once."""
    config = Config(
        s3={"addressing_style": "path"},
        signature_version=None if service != "s3" else "s3v4",
        request_checksum_calculation=request_checksum_calculation,
        response_checksum_validation="when_required",
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=32,
    )
    return boto3.Session().client(
        service,
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=config,
        **options,
    )


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is in a bucket, in few words."""

    name: str
    server: Server
    client: Any

    def url(self, prefix: str = "") -> str:
        return f"s3://{self.name}/{prefix}"

    def listed(self, prefix: str = "") -> Iterator[dict[str, Any]]:
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            yield from page.get("Contents", [])

    def keys(self, prefix: str = "") -> set[str]:
        return {entry["Key"] for entry in self.listed(prefix)}

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """Every key below the prefix with its bytes, without those that go between the listing and the look."""
        found = ((key, self._get_listed(key)) for key in self.keys(prefix))
        return {key: body for key, body in found if body is not None}

    def _get_listed(self, key: str) -> bytes | None:
        """The bytes of a listed object; None if the store lists it no more. One that is listed and cannot be read raises."""
        for _ in range(5):  # a late request may delete it, and another write it again
            try:
                return self.get(key)
            except self.client.exceptions.NoSuchKey as error:
                missing = error
                if key not in self.keys(key):
                    return None
        raise missing

    def head(self, key: str) -> dict[str, Any]:
        return self.client.head_object(Bucket=self.name, Key=key)

    def put(self, key: str, body: bytes = b"", **more: Any) -> dict[str, Any]:
        return self.client.put_object(Bucket=self.name, Key=key, Body=body, **more)

    def put_and_look(self, key: str, body: bytes, **more: Any) -> None:
        """Put an object, and again while its ETag is not its MD5: moto computes it without a lock, beside readers."""
        right = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        for _ in range(_LOOKS):
            self.put(key, body, **more)
            if self.head(key)["ETag"] == right:
                return
        raise AssertionError(f"the server gives {key!r} a wrong ETag, time and again")

    def uploads(self) -> list[dict[str, Any]]:
        """Multipart uploads that are neither completed nor aborted."""
        return self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])

    def grants(self, key: str) -> list[tuple[str, str]]:
        """(grantee, permission) pairs of an object's ACL."""
        acl = self.client.get_object_acl(Bucket=self.name, Key=key)
        return [(g["Grantee"].get("URI") or g["Grantee"].get("ID", ""), g["Permission"]) for g in acl["Grants"]]


def make_bucket(server: Server, *, ownership: str = "ObjectWriter") -> Bucket:
    """A new bucket. By default one that takes ACLs, public ones too, as all did before 2023; "" for today's default."""
    s3, name = client(server), f"test-{uuid.uuid4().hex[:16]}"
    takes_ownership = ownership and server.name in ("ministack", "moto")
    s3.create_bucket(Bucket=name, **({"ObjectOwnership": ownership} if takes_ownership else {}))
    if takes_ownership:
        s3.delete_public_access_block(Bucket=name)
    return Bucket(name, server, s3)


def remove_bucket(bucket: Bucket) -> None:
    """The bucket and all that is in it; a server that cannot is left with it until it is stopped."""
    with suppress(ClientError):
        for upload in bucket.uploads():
            bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
    with suppress(ClientError):
        for key in list(bucket.keys()):
            bucket.client.delete_object(Bucket=bucket.name, Key=key)
        bucket.client.delete_bucket(Bucket=bucket.name)
