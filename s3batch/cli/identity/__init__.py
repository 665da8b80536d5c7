"""Whose build this is: owner, repository, branch and the rest, from the CI's own variables, else from git."""
