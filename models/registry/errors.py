"""What can be wrong with a registry."""

from data.errors import EarshotError


class RegistryError(EarshotError):
    """A registry that lacks what was asked for, is damaged, or is being changed by another."""
