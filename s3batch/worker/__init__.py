"""Carries out one operation: a few S3 requests and a result. Imports neither journal nor plan."""
