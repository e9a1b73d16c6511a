"""The error of the registry."""

from earful.data.errors import EarfulError


class RegistryError(EarfulError):
    """A registry that lacks what was requested, is damaged, or is being changed meanwhile."""
