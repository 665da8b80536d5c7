"""The only door to S3: the native client, boto3, requests, responses and faults."""
