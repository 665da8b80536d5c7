"""``s3batch jobs``: list, show, prune and forget the jobs of a journal."""
