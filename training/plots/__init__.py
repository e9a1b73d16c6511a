"""Pictures as PNG."""
