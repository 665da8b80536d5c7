"""Output for people and programs: the console, the progress, the report."""
