"""How a service is deployed: environment variables ``EARSHOT_*``; the command line wins."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from data.audio import AudioLimits
from models.device import Device
from service.auth import ApiKeys
from service.feedback.audio import DEFAULT_FOLDER
from service.feedback.place import DEFAULT_URL, OFF

# Of a stream; uvicorn refuses larger ones before they are read.
MAX_FRAME_BYTES = 1 << 20
KeepAudio = Literal["off", "feedback", "uncertain", "all"]


class Settings(BaseSettings):
    """Limits are per file unless they say otherwise; an unknown variable is an error."""

    model_config = SettingsConfigDict(env_prefix="EARSHOT_", extra="forbid", frozen=True)

    model: Path
    device: Device = "cpu"
    reject: bool = Field(False, description="answer `unknown` below the model's threshold")
    max_upload_bytes: int = Field(10_000_000, gt=0)
    max_request_bytes: int = Field(50_000_000, gt=0, description="all files of one request")
    max_bytes_in_flight: int = Field(200_000_000, gt=0, description="of all requests of a worker")
    max_files: int = Field(64, gt=0, description="files of one request")
    max_seconds: float = Field(60.0, gt=0, allow_inf_nan=False)
    max_channels: int = Field(8, gt=0)
    max_sample_rate_hz: int = Field(192_000, gt=0)
    max_queue: int = Field(128, gt=0, description="files that a worker holds; more get 429")
    max_streams: int = Field(32, ge=0, description="open streams of a worker")
    deadline_seconds: float = Field(
        15.0, gt=0, allow_inf_nan=False, description="from request to answer; then 504"
    )
    drain_seconds: float = Field(
        2.0,
        ge=0,
        allow_inf_nan=False,
        description="told to end, answer 503 to /readyz so long before closing",
    )
    api_keys: SecretStr = Field(
        SecretStr(""), description="SCOPE:KEY,... with the scopes classify, feedback and admin"
    )
    api_keys_file: Path | None = Field(None, description="a file with SCOPE:KEY on each line")
    feedback_url: SecretStr | None = Field(
        None, description="database of feedback, or `off`; a file in artifacts/ without it"
    )
    keep_audio: KeepAudio = Field("off", description="which recordings are kept to train on")
    audio_dir: Path = Field(DEFAULT_FOLDER, description="where they are kept")
    retention_days: float = Field(
        365.0, ge=0, allow_inf_nan=False, description="of audio and labels; 0 keeps them for ever"
    )
    max_audio_bytes: int = Field(
        10_000_000_000, ge=0, description="of all kept audio; the oldest goes; 0 is no limit"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def limits(self) -> AudioLimits:
        return AudioLimits(
            max_bytes=self.max_upload_bytes,
            max_seconds=self.max_seconds,
            max_channels=self.max_channels,
            max_sample_rate_hz=self.max_sample_rate_hz,
        )

    def database_url(self) -> str | None:
        """The database of feedback, which may hold a password; None where feedback is off."""
        url = DEFAULT_URL if self.feedback_url is None else self.feedback_url.get_secret_value()
        return None if url == OFF else url

    @property
    def wants_feedback(self) -> bool:
        """Whether somebody asked for it: then it is an error when it cannot be had."""
        return self.feedback_url is not None or self.keep_audio != "off"

    def keys(self) -> ApiKeys:
        """The API keys of both sources.

        Raises:
            ValueError: an entry is not of the form SCOPE:KEY, or the file cannot be read.
        """
        given = self.api_keys.get_secret_value()
        entries = given.split(",")
        if self.api_keys_file is not None:
            # Every worker reads it, which a pipe allows once.
            if not self.api_keys_file.is_file():
                raise ValueError(f"{self.api_keys_file} is no regular file")
            try:
                lines = self.api_keys_file.read_text("utf-8").splitlines()
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8"
                raise ValueError(f"cannot read {self.api_keys_file}: {reason}") from error
            entries += [line for line in lines if not line.lstrip().startswith("#")]
        keys = ApiKeys.parse(entry for entry in entries if entry.strip())
        if not keys.digests and (given or self.api_keys_file):
            raise ValueError("API keys are wanted and none is given; write SCOPE:KEY")
        return keys

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        self.keys()
        if self.keep_audio != "off" and self.database_url() is None:
            raise ValueError(
                f"EARSHOT_KEEP_AUDIO is {self.keep_audio!r} and feedback is off: nothing could be "
                "kept; change one of them"
            )
        if self.max_files > self.max_queue:
            raise ValueError(
                f"EARSHOT_MAX_FILES ({self.max_files}) is more than EARSHOT_MAX_QUEUE "
                f"({self.max_queue}): such a request could never run; change one of them"
            )
        if self.max_request_bytes > self.max_bytes_in_flight:
            raise ValueError(
                f"EARSHOT_MAX_REQUEST_BYTES ({self.max_request_bytes}) is more than "
                f"EARSHOT_MAX_BYTES_IN_FLIGHT ({self.max_bytes_in_flight}): such a request could "
                "never run; change one of them"
            )
        return self
