"""The identity of a build: owner, repository, branch and more, from the CI's variables, else from git."""
