"""The limits of Amazon S3, each once. Sizes are bytes.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
"""

PART_MINIMUM = 5 * 1024**2
"""The smallest part of a multipart upload, but for the last one."""
PART_MAXIMUM = 5 * 1024**3
"""The largest part, and the largest body of one PutObject."""
PARTS_LIMIT = 10_000
"""Parts of one upload."""
OBJECT_LIMIT = 5 * 1024**4
"""The largest object."""
COPY_LIMIT = 5 * 1024**3
"""The largest object that CopyObject takes."""
KEY_LIMIT = 1024
"""Bytes of a key in UTF-8."""
LISTING_PAGE = 1000
"""Keys in one page of a listing."""
DELETE_BATCH = 1000
"""Keys in one DeleteObjects."""
