"""The attributes of an object: key, headers and ACL, and their comparison with those of its file."""
