"""The work of scripts/serve-s3: start a server, say how to reach it, wait."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from tests.rig import buckets, servers


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        tempfile.TemporaryDirectory(prefix="serve-s3-") as directory,
        servers.running(options.server, Path(directory)) as server,
    ):
        buckets.client(server).create_bucket(Bucket=options.bucket)
        for name, value in server.environment().items():
            print(f"export {name}={value}")
        print(f"# then, for example:  s3batch sync . s3://{options.bucket}/here", flush=True)
        signal.pause()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="serve-s3", description="An S3 server on this machine, until Ctrl-C.")
    parser.add_argument("--server", choices=sorted(servers.RECIPES), default="ministack")
    parser.add_argument("--bucket", default="demo", help="a bucket to make (default: demo)")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
