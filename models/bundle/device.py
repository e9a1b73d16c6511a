"""Where to compute; apart, so that the command line can name the choices without a runtime."""

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
