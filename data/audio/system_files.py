"""Files and folders that systems write beside recordings; they are no recordings."""

_NAMES = frozenset(
    {
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "@eadir",
    }
)


def is_system_name(name: str) -> bool:
    """Whether a name is hidden (``._a.wav`` of macOS is) or one that a system gives."""
    return name.startswith(".") or name.casefold() in _NAMES
