"""The command line: ``main`` and what it is made of. The only part that reads the environment."""

from s3batch.cli.entry import main

__all__ = ["main"]
