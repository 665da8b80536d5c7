"""The command line: the only package that reads the environment."""

from s3batch.cli.main import main, program

__all__ = ["main", "program"]
