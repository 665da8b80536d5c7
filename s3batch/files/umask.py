"""The umask of this process, read without changing it where the system tells: another thread may make a file meanwhile."""

from __future__ import annotations

import os

_STATUS = "/proc/self/status"


def read_umask(status: str = _STATUS) -> int:
    """Return the umask."""
    try:
        with open(status, encoding="ascii", errors="replace") as file:
            found = next((line for line in file if line.startswith("Umask:")), "")
    except OSError:
        found = ""
    if found:
        return int(found.partition(":")[2], 8)
    mask = os.umask(0)
    os.umask(mask)
    return mask
