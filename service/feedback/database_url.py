"""The address of the feedback database: an SQLite file or a PostgreSQL URL."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from earful.service.feedback.errors import FeedbackError

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql://", "postgresql+psycopg://")


@dataclass(frozen=True)
class DatabaseAddress:
    """A database: ``path`` is the file for SQLite, None for PostgreSQL.

    ``url`` may hold a password and is never shown; ``str(address)`` has no user and no password.
    """

    url: str = field(repr=False)
    path: Path | None

    @classmethod
    def parse(cls, url: str) -> "DatabaseAddress":
        """Parse a URL.

        Raises:
            FeedbackError: the URL is invalid. The message leaves it out: it may hold a password.
        """
        scheme, separator, _ = url.partition("://")
        if scheme == "sqlite":
            name = url.removeprefix(_SQLITE)
            if (
                not url.startswith(_SQLITE)
                or not name
                or name.startswith(":memory:")
                or "?" in name
                or "\0" in name
            ):
                raise FeedbackError(
                    "an SQLite URL is a file without options: sqlite:///relative/path.db or "
                    "sqlite:////absolute/path.db"
                )
            return cls(url, Path(name))
        if url.startswith(_POSTGRESQL):
            _check_host(url)
            return cls("postgresql+psycopg://" + url.partition("://")[2], None)
        found = f"a URL with the scheme {scheme[:30]!r}" if separator else "no URL"
        raise FeedbackError(
            "the feedback database is sqlite:///FILE, "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, or `off` for no feedback; "
            f"found {found}"
        )

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_SQLITE}{self.path}"
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"postgresql://{parts.hostname or ''}{port}{parts.path}"


def _check_host(url: str) -> None:
    """Refuse an unescaped @ or / in the password: part of it would be shown as the host."""
    try:
        parts = urlsplit(url)
        is_valid = parts.netloc.count("@") <= 1 and "@" not in parts.path and (parts.port or 1)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise FeedbackError(
            "invalid PostgreSQL URL; write special characters of the password as %XX "
            "(@ is %40, / is %2F, : is %3A)"
        )
