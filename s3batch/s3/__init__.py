"""The only door to S3: the lean lane, the reference lane (boto3), and what both speak in."""
