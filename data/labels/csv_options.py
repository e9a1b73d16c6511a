"""How a labels CSV is to be read: what the user says about its columns."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from earful.data.errors import UsageError, did_you_mean

# What a column can be read as; start with end or duration.
ROLES = ("filename", "label", "speaker", "fold", "split", "start", "end", "duration")
REQUIRED_ROLES = ("filename", "label")


@dataclass(frozen=True)
class CsvOptions:
    """What the user says about a labels CSV.

    audio_dir        folder of relative file names; None: that of the CSV
    columns          the name of the column for a role (``filename``, ``label``, ...); an empty name
                     leaves that role aside; roles that are not named are found by usual names
    label_separator  between several labels of one cell, beside ``|``; empty: none
    """

    audio_dir: Path | None = None
    columns: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    label_separator: str = ""


PLAIN_CSV = CsvOptions()
# What stands between commas that are not in quotation marks.
_ITEM = re.compile(r'(?:[^,"]|"[^"]*"|")+')
_QUOTED = re.compile(r'"[^"]*"')


def parse_columns(texts: Sequence[str]) -> dict[str, str]:
    """The columns by role of ``--columns label=category,start=,end=``; may be given several times.

    A name with a comma stands in quotation marks: ``label="class, coarse"``.

    Raises:
        UsageError: not ROLE=NAME, an unknown role, a role twice, or a required one left aside.
    """
    columns: dict[str, str] = {}
    for item in (item for text in texts for item in _ITEM.findall(text) if item.strip()):
        role, equals, name = (part.strip() for part in item.partition("="))
        role = role.lower()
        if not equals:
            raise UsageError(
                f"--columns is ROLE=COLUMN, such as label=category, found {item.strip()!r}"
            )
        if role in columns:
            raise UsageError(f"--columns names the {role} twice; give it once")
        columns[role] = name[1:-1] if _QUOTED.fullmatch(name) else name
    check_columns(columns)
    return columns


def check_columns(columns: Mapping[str, str]) -> None:
    """Refuse unknown roles, and empty names of required ones.

    Raises:
        UsageError: the message lists the roles.
    """
    for role, name in columns.items():
        if role not in ROLES:
            hint = did_you_mean(role, ROLES)
            raise UsageError(f"--columns reads {', '.join(ROLES)}, found {role!r}{hint}")
        if role in REQUIRED_ROLES and not name:
            raise UsageError(f"a labels CSV needs a {role}; name its column: --columns {role}=NAME")
