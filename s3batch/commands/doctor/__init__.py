"""``s3batch doctor``: try everything a job with these settings asks of this bucket, and say what is allowed."""
