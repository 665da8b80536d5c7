"""The command line, and how settings are read: arguments, environment and config file."""

from s3batch.cli.main import main, run_program

__all__ = ["main", "run_program"]
