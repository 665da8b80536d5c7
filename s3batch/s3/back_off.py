"""The back-off before a new try, and the words for a network error."""

from __future__ import annotations

from s3batch.settings.texts import without_userinfo

_FIRST_BACK_OFF, _LAST_BACK_OFF = 0.1, 20.0  # seconds


def back_off(attempt: int) -> float:
    """Return the seconds to wait before try ``attempt`` + 1: doubling, with full jitter."""
    # https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    import random  # noqa: PLC0415 - it imports half a dozen modules of mathematics

    return random.uniform(0, min(_LAST_BACK_OFF, _FIRST_BACK_OFF * 2**attempt))


def in_words(error: Exception) -> str:
    """Return the words of ``error``, with its type if the message alone says little.

    It names no user and password of a URL: those of a proxy or of an endpoint in the AWS configuration.
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    told = type(error).__module__.startswith(("botocore.", "boto3.")) or isinstance(error, RuntimeError)
    return without_userinfo(str(error) if told and str(error) else f"{type(error).__name__}: {error}")
