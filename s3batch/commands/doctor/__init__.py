"""``s3batch doctor``: send every request that a job with these settings needs, and report which are allowed."""
