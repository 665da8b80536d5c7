"""All rows, with their goals, in the order of the page."""

from __future__ import annotations

from scripts.benchmarks import programs
from scripts.benchmarks.judging import Goal
from scripts.benchmarks.row import Row
from scripts.benchmarks.scene import GIB, KIB, MIB, Side

LITTLE, UPLOADS, DASK = "A job that has little to do", "Uploads", "Workers on a Dask cluster"
MILLION, DOWNLOADS, COPIES = "A million files", "Downloads", "Bucket to bucket"
_CHECKSUM = "MD5 of each file against the listing; asks for no attribute"
_PROVES_DOWN = "the object's CRC64NVME, and the ETag of the listing with each request"
_S5CMD_DOWN = "nothing: neither MD5 nor checksum is compared"
_COPIED = "each copy is pinned to the ETag of the listing, and its ETag is compared"


def _limits(wall: float, cpu: float) -> tuple[Goal, Goal]:
    return Goal("wall", wall), Goal("cpu", cpu)


_LITTLE_ROWS = (
    Row(
        name="runner-fresh", section=LITTLE, title="{files} files unchanged, no journal", files=100_000, size=100,
        goals=_limits(1.0, 1.0), is_alike=True,
        sides=(
            Side("s3batch", programs.compare(), "MD5 of each file against the listing; a HEAD shows the attributes"),
            Side("rclone sync --checksum", programs.compare_by_rclone("--checksum"), _CHECKSUM),
        ),
    ),
    Row(
        name="runner-manifest", section=LITTLE, title="{files} files unchanged, no journal, an object manifest",
        files=100_000, size=100, goals=_limits(0.5, 0.5), is_alike=True, is_prepared=True,
        sides=(
            Side(
                "s3batch", programs.compare("--object-manifest"),
                "MD5 of each file against the listing; attributes as the manifest has them",
            ),
            Side("rclone sync --checksum", programs.compare_by_rclone("--checksum"), _CHECKSUM),
        ),
    ),
    Row(
        name="runner-journal", section=LITTLE, title="{files} files unchanged, with the journal", files=100_000,
        size=100, goals=_limits(0.5, 0.5), is_alike=True, is_prepared=True, is_kept=True,
        sides=(
            Side(
                "s3batch", programs.compare(),
                "reads no file: size, mtime, ctime and inode as recorded, ETag and time of the object as written",
            ),
            Side("rclone sync --size-only", programs.compare_by_rclone("--size-only"), "reads no file: sizes"),
        ),
    ),
    Row(
        name="runner-delete", section=LITTLE, title="{files} objects deleted", files=100_000, size=100,
        goals=_limits(0.8, 0.8), is_alike=True, has_tree=False,
        sides=(
            Side("s3batch", programs.delete, "looks for a file of each key, looks once more, journals each key"),
            Side("s5cmd rm", programs.delete_by_s5cmd, "lists once"),
        ),
    ),
    Row(
        name="runner-one", section=LITTLE, title="{files} file sent", files=1, size=100, is_prepared=True,
        goals=(*_limits(0.4, 0.4), Goal("cpu seconds", 0.2)),
        sides=(
            Side("s3batch", programs.upload()),
            Side("import boto3", programs.import_boto3, "nothing: python -c 'import boto3' in the same environment"),
        ),
    ),
)  # fmt: skip

_SIGNED = Side("s3batch", programs.upload("--sign-payload", "always"))
_PLAIN = Side("s3batch", programs.upload())
_S5CMD = Side("s5cmd cp", programs.upload_by_s5cmd)
_UPLOAD_ROWS = (
    Row(
        name="small", section=UPLOADS, title="{files} new files of 4 KiB, equal integrity", files=20_000,
        size=4 * KIB, goals=_limits(0.25, 0.30),
        sides=(_SIGNED, _S5CMD, Side("rclone sync", programs.upload_by_rclone)),
    ),
    Row(
        name="latency", section=UPLOADS, title="{files} new files of 4 KiB, 20 ms a request, equal integrity",
        files=20_000, size=4 * KIB, delay_ms=20, goals=_limits(0.30, 0.35), sides=(_SIGNED, _S5CMD),
    ),
    Row(
        name="tls", section=UPLOADS, title="{files} new files of 4 KiB over TLS", files=20_000, size=4 * KIB,
        has_tls=True, goals=(Goal("cpu", 0.30),), sides=(_PLAIN, _S5CMD),
    ),
    Row(
        name="medium", section=UPLOADS, title="{files} new files of 1 MiB", files=1_000, size=MIB,
        goals=_limits(0.40, 0.33), sides=(_PLAIN, _S5CMD),
    ),
    Row(
        name="large", section=UPLOADS, title="{files} new files of 1 GiB", files=3, size=GIB,
        goals=_limits(0.30, 0.22), sides=(_PLAIN, _S5CMD),
    ),
)  # fmt: skip

_ON_DASK = "SHA-256 signed + CRC64NVME; the CPU is the coordinator's alone"
_DASK_ROWS = (
    Row(
        name="dask", section=DASK, title="{files} new files of 4 KiB on 8 Dask workers, 50 ms a request",
        files=20_000, size=4 * KIB, delay_ms=50, goals=(Goal("speed-up", 7),), workers=(8, 1),
        sides=tuple(
            Side(name, programs.on_dask(programs.upload("--sign-payload", "always"), count), _ON_DASK)
            for name, count in (("8 workers", 8), ("1 worker", 1))
        ),
    ),
)  # fmt: skip

_TWO_CORES = (Goal("memory", 60), Goal("cores", 1.5))
_MILLION_ROWS = (
    Row(
        name="million-unchanged", section=MILLION, title="{files} files unchanged, with the journal, 2 cores",
        files=1_000_000, size=100, goals=_TWO_CORES, is_alike=True, is_prepared=True, is_kept=True,
        sides=(Side("s3batch", programs.on_two_cores(programs.compare()), "as with 100,000 files"),),
    ),
    Row(
        name="million-new", section=MILLION, title="{files} new files, 2 cores", files=1_000_000, size=100,
        goals=_TWO_CORES, is_alike=True,
        sides=(Side("s3batch", programs.on_two_cores(programs.upload())),),
    ),
    Row(
        name="million-delete", section=MILLION, title="{files} objects deleted, 2 cores", files=1_000_000, size=100,
        goals=_TWO_CORES, is_alike=True, has_tree=False,
        sides=(Side("s3batch", programs.on_two_cores(programs.delete), "as with 100,000 objects"),),
    ),
)  # fmt: skip

_DOWN = (Side("s3batch", programs.download, _PROVES_DOWN), Side("s5cmd cp", programs.download_by_s5cmd, _S5CMD_DOWN))
_DOWNLOAD_ROWS = (
    Row(
        name="download", section=DOWNLOADS, title="{files} objects of 4 KiB fetched", files=20_000, size=4 * KIB,
        goals=_limits(0.35, 0.35), is_alike=True, has_tree=False, sides=_DOWN,
    ),
    Row(
        name="download-tls", section=DOWNLOADS, title="{files} objects of 4 KiB fetched over TLS", files=20_000,
        size=4 * KIB, goals=_limits(0.35, 0.35), is_alike=True, has_tree=False, has_tls=True, sides=_DOWN,
    ),
    Row(
        name="download-large", section=DOWNLOADS, title="{files} objects of 1 GiB fetched", files=3, size=GIB,
        goals=_limits(0.9, 0.9), is_alike=True, has_tree=False, sides=_DOWN,
    ),
    Row(
        name="download-unchanged", section=DOWNLOADS, title="{files} objects of 4 KiB fetched before, unchanged",
        files=20_000, size=4 * KIB, goals=_limits(0.5, 0.5), is_alike=True, has_tree=False, is_prepared=True,
        is_kept=True,
        sides=(
            Side("s3batch", programs.download, "reads no file: stamp of the file, ETag, size and time of the object"),
            Side("rclone sync --size-only", programs.download_by_rclone("--size-only"), "reads no file: sizes"),
        ),
    ),
    Row(
        name="million-download", section=DOWNLOADS, title="Memory for {files} objects fetched, beside a tenth of them",
        files=1_000_000, size=100, goals=(Goal("memory ratio", 1.2),), is_alike=True, has_tree=False,
        sides=(
            Side("s3batch", programs.download, _PROVES_DOWN),
            Side("a tenth", programs.download_tenth, _PROVES_DOWN),
        ),
    ),
)  # fmt: skip

_COPY_ROWS = (
    Row(
        name="copies", section=COPIES, title="{files} server-side copies, 20 ms a request", files=10_000, size=100,
        delay_ms=20, goals=(Goal("wall", 0.3),), is_alike=True, has_tree=False,
        sides=(
            Side("s3batch", programs.copy, _COPIED),
            Side("s5cmd cp", programs.copy_by_s5cmd, "nothing: no copy is pinned or compared"),
        ),
    ),
    Row(
        name="dask-copies", section=COPIES, title="{files} server-side copies on 8 Dask workers, 50 ms a request",
        files=20_000, size=100, delay_ms=50, goals=(Goal("speed-up", 7),), is_alike=True, has_tree=False,
        workers=(8, 1),
        sides=tuple(
            Side(name, programs.on_dask(programs.copy, count), f"{_COPIED}; the CPU is the coordinator's alone")
            for name, count in (("8 workers", 8), ("1 worker", 1))
        ),
    ),
)  # fmt: skip

ROWS = (*_LITTLE_ROWS, *_UPLOAD_ROWS, *_DASK_ROWS, *_MILLION_ROWS, *_DOWNLOAD_ROWS, *_COPY_ROWS)
