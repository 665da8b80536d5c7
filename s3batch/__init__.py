"""s3batch: upload files to S3 and cache build directories there, with a journal to resume from.

    report = s3batch.sync("public", "s3://bucket/site", delete=True)

docs/python.md describes the functions. They are imported with their first use: ``import s3batch`` costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs 9 ms, and signals are not handled before this module is imported
if TYPE_CHECKING:
    from typing import Any

    from s3batch.api.functions import cache_rebuild, cache_restore, resume, sync, verify
    from s3batch.api.journal_reader import JournalReader as Journal
    from s3batch.api.report import Report
    from s3batch.base.errors import EndpointError, JournalError, JournalLockedError, SettingsError
    from s3batch.base.errors import S3BatchError as Error

__all__ = [
    "EndpointError",
    "Error",
    "Journal",
    "JournalError",
    "JournalLockedError",
    "Report",
    "SettingsError",
    "__version__",
    "cache_rebuild",
    "cache_restore",
    "resume",
    "sync",
    "verify",
]

try:
    # The build writes this module, from the tag. Each run would pay tens of milliseconds for importlib.metadata.
    from s3batch._version import __version__ as _version  # type: ignore[import-not-found,import-untyped,unused-ignore]
except ImportError:
    _version = "0.1.0.dev0"  # a checkout that was never built

__version__: str = _version

_HOMES = {
    "Error": ("base.errors", "S3BatchError"),
    "Journal": ("api.journal_reader", "JournalReader"),
    "Report": ("api.report", "Report"),
    **{
        name: ("base.errors", name) for name in ("EndpointError", "JournalError", "JournalLockedError", "SettingsError")
    },
    **{name: ("api.functions", name) for name in ("cache_rebuild", "cache_restore", "resume", "sync", "verify")},
}
"""The module and the name there of everything that is imported with its first use."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - the command line needs none of this

    module, there = _HOMES[name]
    found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), there)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
