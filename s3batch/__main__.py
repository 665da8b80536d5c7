"""``python -m s3batch``."""

from s3batch.cli import program

if __name__ == "__main__":
    program()
