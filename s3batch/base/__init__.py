"""What every package needs and none owns: errors and their codes, numbers as text, named tuples, hashes, waits, failpoints."""
