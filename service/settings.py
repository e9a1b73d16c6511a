"""How a service is deployed: environment variables ``EARSHOT_*``; the command line wins."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from data.audio import AudioLimits
from models.device import Device


class Settings(BaseSettings):
    """Limits are per file unless they say otherwise; an unknown variable is an error."""

    model_config = SettingsConfigDict(env_prefix="EARSHOT_", extra="forbid", frozen=True)

    model: Path
    device: Device = "cpu"
    reject: bool = Field(False, description="answer `unknown` below the model's threshold")
    max_upload_bytes: int = Field(10_000_000, gt=0)
    max_request_bytes: int = Field(50_000_000, gt=0, description="all files of one request")
    max_files: int = Field(64, gt=0, description="files of one request")
    max_seconds: float = Field(60.0, gt=0)

    def limits(self) -> AudioLimits:
        return AudioLimits(max_bytes=self.max_upload_bytes, max_seconds=self.max_seconds)
