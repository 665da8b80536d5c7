"""The Python API: s3batch's commands as functions. `s3batch` itself exports it, and imports it with its first use."""
