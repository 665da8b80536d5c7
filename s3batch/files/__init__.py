"""Opens files with care: those s3batch keeps for itself, small ones that others wrote, and files of the source."""
