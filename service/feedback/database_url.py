"""Where feedback is kept: a file of SQLite, or a PostgreSQL database by its URL."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from earful.service.feedback.errors import FeedbackError

_SQLITE = "sqlite:///"
_POSTGRESQL = ("postgresql://", "postgresql+psycopg://")


@dataclass(frozen=True)
class DatabaseAddress:
    """A database: ``path`` of the file for SQLite, None for PostgreSQL.

    ``url`` may hold a password and is never shown; ``str(place)`` has neither user nor password.
    """

    url: str = field(repr=False)
    path: Path | None

    @classmethod
    def parse(cls, url: str) -> "DatabaseAddress":
        """The place that a URL means.

        Raises:
            FeedbackError: it is of another kind; its text, which may hold a password, is not told.
        """
        kind, colon, _ = url.partition("://")
        if kind == "sqlite":
            name = url.removeprefix(_SQLITE)
            if (
                not url.startswith(_SQLITE)
                or not name
                or name.startswith(":memory:")
                or "?" in name
                or "\0" in name
            ):
                raise FeedbackError(
                    "an SQLite URL names a file and no options: sqlite:///relative/path.db or "
                    "sqlite:////absolute/path.db"
                )
            return cls(url, Path(name))
        if url.startswith(_POSTGRESQL):
            _check_host(url)
            return cls("postgresql+psycopg://" + url.partition("://")[2], None)
        found = f"a URL of the kind {kind[:30]!r}" if colon else "no URL"
        raise FeedbackError(
            "feedback goes to sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE, "
            f"or nowhere with `off`; found {found}"
        )

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_SQLITE}{self.path}"
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"postgresql://{parts.hostname or ''}{port}{parts.path}"


def _check_host(url: str) -> None:
    """A password with a bare @ or / would end up, in part, as a host's name in messages."""
    try:
        parts = urlsplit(url)
        usable = parts.netloc.count("@") <= 1 and "@" not in parts.path and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable:
        raise FeedbackError(
            "the PostgreSQL URL cannot be read; write special characters of its password as %XX "
            "(@ is %40, / is %2F, : is %3A)"
        )
