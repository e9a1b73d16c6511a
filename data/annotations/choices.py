"""What a user can choose among; importing this costs nothing, which the command line needs."""

from typing import Literal

ImportFormat = Literal[
    "label-studio",
    "label-studio-min",
    "label-studio-csv",
    "audacity",
    "raven",
    "folders",
    "pattern",
]
ExportFormat = Literal[
    "label-studio", "label-studio-min", "label-studio-csv", "audacity", "raven", "folders"
]
ConflictRule = Literal["latest", "majority", "first", "error"]
