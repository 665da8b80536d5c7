"""Has a program copy objects in parts from 8 MiB on, not from 5 GiB on: its directory goes first in ``PYTHONPATH``."""

from s3batch.settings import s3_limits

s3_limits.COPY_LIMIT = 8 * 1024**2
