"""Careful opening of files: private ones of s3batch, small untrusted ones, and those of the source."""
