"""``s3batch undo JOB`` and ``s3batch backup prune``: take back what a job has changed, and remove old backups."""
