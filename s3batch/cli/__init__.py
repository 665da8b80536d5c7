"""The command line: the only package that reads the environment."""

from s3batch.cli.main import main, run_program

__all__ = ["main", "run_program"]
