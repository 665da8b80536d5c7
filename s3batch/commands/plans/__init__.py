"""``s3batch sync --plan FILE``, ``s3batch plan FILE`` and ``s3batch apply FILE``: look first, then do exactly that."""
