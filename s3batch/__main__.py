"""``python -m s3batch``."""

import sys

from s3batch.cli import main

if __name__ == "__main__":
    sys.exit(main())
