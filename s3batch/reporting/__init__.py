"""What people and programs get to read: the console, the progress, the report."""
