"""The plan of a job: which files to send and compare, and which objects to delete."""
