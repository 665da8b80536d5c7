"""How an object looks: key, attributes and headers, and whether it equals its file."""
