"""The command line: ``main``, ``program`` and what they are made of. The only part that reads the environment."""

from s3batch.cli.entry import main, program

__all__ = ["main", "program"]
