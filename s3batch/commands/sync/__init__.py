"""``s3batch sync``: make the target hold what the source holds."""
