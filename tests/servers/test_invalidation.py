"""CloudFront as the emulators of ministack and moto play it: what we ask for is what they have."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from s3batch.base.errors import JobFailedError
from s3batch.commands.sync.cloudfront import connect_cloudfront, invalidate_paths
from tests.rig.distributions import make_distribution
from tests.rig.servers import Server


@pytest.fixture(params=["ministack", "moto"])
def cloudfront(request, server_named) -> Server:
    """A server that speaks CloudFront beside S3."""
    return server_named(request.param)


@pytest.fixture
def client(cloudfront: Server) -> Any:
    """Our client: its session knows no endpoint."""
    session = boto3.Session(cloudfront.access_key, cloudfront.secret_key)
    return connect_cloudfront(session, cloudfront.url)


@pytest.fixture
def distribution(cloudfront: Server) -> str:
    """The id of a new distribution."""
    return make_distribution(cloudfront)


def paths_of(client: Any, distribution: str, invalidation: str) -> list[str]:
    answer = client.get_invalidation(DistributionId=distribution, Id=invalidation)
    return answer["Invalidation"]["InvalidationBatch"]["Paths"]["Items"]


@pytest.mark.parametrize(
    ("changed", "paths"),
    [
        pytest.param(None, ["/site/*"], id="all"),
        pytest.param(["site/a b", "site/é"], ["/site/%C3%A9", "/site/a%20b"], id="changed"),
    ],
)
def test_the_distribution_has_the_invalidation(client, distribution, changed, paths) -> None:
    (made,) = invalidate_paths(client, distribution, prefix="site/", job="J", changed=changed)

    assert sorted(paths_of(client, distribution, made)) == paths


def test_asking_again_for_the_same_job_is_no_error(client, distribution) -> None:
    first = invalidate_paths(client, distribution, prefix="", job="J", changed=["a"])
    again = invalidate_paths(client, distribution, prefix="", job="J", changed=["a"])
    more = invalidate_paths(client, distribution, prefix="", job="J", changed=["a", "b"])

    assert len(first) == len(again) == len(more) == 1
    assert more != first


def test_an_unknown_distribution_is_one_clear_sentence(client) -> None:
    with pytest.raises(
        JobFailedError, match="cannot invalidate /\\* of CloudFront distribution NONE: NoSuchDistribution"
    ):
        invalidate_paths(client, "NONE", prefix="", job="J", changed=None)


def test_the_variable_of_the_aws_tools_names_the_endpoint(cloudfront, distribution, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT", cloudfront.url)
    client = connect_cloudfront(boto3.Session(cloudfront.access_key, cloudfront.secret_key))

    (made,) = invalidate_paths(client, distribution, prefix="", job="J", changed=None)

    assert paths_of(client, distribution, made) == ["/*"]
