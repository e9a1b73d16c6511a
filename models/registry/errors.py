"""What can be wrong with a registry."""

from earful.data.errors import EarfulError


class RegistryError(EarfulError):
    """A registry that lacks what was asked for, is damaged, or is being changed by another."""
