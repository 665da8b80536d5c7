"""The commands that are not about caches: one module or package for each."""
