"""Build hook: refuses to build where git made text files of the links in ``.src/earful``."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CheckLinks(BuildHookInterface):  # type: ignore[type-arg]
    """Without the folders behind the links a wheel would be empty."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Raise where a link is missing or is no folder."""
        package = Path(self.root) / ".src" / "earful"
        layers = ("data", "models", "service", "training")
        missing = [layer for layer in layers if not (package / layer).is_dir()]
        if missing:
            raise RuntimeError(
                f".src/earful/{missing[0]} is no link to a folder: this clone was made without "
                "symbolic links. Switch them on (git config core.symlinks true; on Windows also "
                "Developer Mode) and clone again."
            )
