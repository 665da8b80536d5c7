"""Decides what a job has to do: what to send, compare and delete."""
