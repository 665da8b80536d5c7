"""CloudFront distributions of the emulators."""

from __future__ import annotations

import uuid

from tests.rig import buckets
from tests.rig.servers import Server


def make_distribution(server: Server) -> str:
    """Make a distribution and return its id."""
    origin = {"Id": "o", "DomainName": "b.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}
    config = {
        "CallerReference": uuid.uuid4().hex,
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": {
            "TargetOriginId": "o",
            "ViewerProtocolPolicy": "allow-all",
            "ForwardedValues": {"QueryString": False, "Cookies": {"Forward": "none"}},
            "MinTTL": 0,
        },
        "Comment": "",
        "Enabled": True,
    }
    return buckets.client(server, "cloudfront").create_distribution(DistributionConfig=config)["Distribution"]["Id"]
