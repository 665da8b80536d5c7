"""s3batch: put a tree of files into S3, lose nothing, and finish what was killed."""

__version__ = "0.1.0"
