"""s3batch: upload files to S3 and cache build directories there, with a journal to resume from."""

__all__ = ["__version__"]

try:
    # The build writes this module, from the tag. Each run would pay tens of milliseconds for importlib.metadata.
    from s3batch._version import __version__ as _version  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError:
    _version = "0.1.0.dev0"  # a checkout that was never built

__version__: str = _version
