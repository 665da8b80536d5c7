"""``s3batch sync``: make the target match the source."""
