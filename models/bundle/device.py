"""Compute devices; a file of its own, so that the command line loads no runtime to list them."""

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
