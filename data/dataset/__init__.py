"""A dataset on disk: preparing, writing and reading it."""
