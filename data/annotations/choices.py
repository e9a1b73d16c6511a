"""Choices of the command line, in a module that is fast to import."""

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
