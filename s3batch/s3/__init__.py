"""The only door to S3: the lean lane, the reference lane (boto3), requests, responses and faults."""
