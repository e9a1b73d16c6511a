"""How a service is deployed: environment variables ``EARFUL_*``; the command line wins."""

import os
import sysconfig
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from earful.data.audio.decode import AudioLimits
from earful.models.bundle.device import Device
from earful.models.registry.catalogue import DEFAULT_REGISTRY
from earful.models.registry.source import ModelSource, open_source
from earful.service.core.auth import ApiKeys
from earful.service.core.defaults import (
    DEFAULT_FEEDBACK_URL,
    DEFAULT_RECORDINGS_FOLDER,
    DEFAULT_RETRAIN_FOLDER,
    FEEDBACK_OFF,
)

# Installed beside the interpreter, wherever that is.
_COMMAND = (str(Path(sysconfig.get_path("scripts")) / "earful"),)
# Of a stream; uvicorn refuses larger ones before they are read.
MAX_FRAME_BYTES = 1 << 20
SaveRecordings = Literal["off", "feedback", "uncertain", "all"]


class Settings(BaseSettings):
    """Limits are per file unless they say otherwise; an unknown variable is an error."""

    model_config = SettingsConfigDict(env_prefix="EARFUL_", extra="forbid", frozen=True)

    model: Annotated[str, BeforeValidator(os.fspath)] = Field(
        description="a file, or NAME, NAME@ALIAS or NAME@NUMBER of the registry"
    )
    registry: str = Field(DEFAULT_REGISTRY, description="a folder, or a URL that fsspec knows")
    retrain_dir: Path = Field(DEFAULT_RETRAIN_FOLDER, description="work of POST /v1/retrain")
    command: tuple[str, ...] = Field(
        _COMMAND, description="what POST /v1/retrain starts: the `earful` command, as a JSON list"
    )
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
    label_studio_root: Path | None = Field(
        None, description="folder below which the audio of Label Studio's tasks is"
    )
    label_studio_url: str | None = Field(
        None, description="address of the Label Studio server that audio may be fetched from"
    )
    label_studio_token: SecretStr = Field(SecretStr(""), description="its access token")
    label_studio_min_score: float = Field(
        0.5, ge=0, le=1, description="what is heard with less is no region in Label Studio"
    )
    feedback_url: SecretStr | None = Field(
        None, description="database of feedback, or `off`; a file in artifacts/ without it"
    )
    save_recordings: SaveRecordings = Field(
        "off", description="which recordings are kept to train on"
    )
    recordings_dir: Path = Field(DEFAULT_RECORDINGS_FOLDER, description="where they are kept")
    retention_days: float = Field(
        365.0, ge=0, allow_inf_nan=False, description="of audio and labels; 0 keeps them for ever"
    )
    max_recordings_bytes: int = Field(
        10_000_000_000, ge=0, description="of all kept audio; the oldest goes; 0 is no limit"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def model_source(self) -> ModelSource:
        """Where the model comes from.

        Raises:
            ModelError: neither a file nor a version of the registry.
        """
        return open_source(self.model, self.registry)

    def audio_limits(self) -> AudioLimits:
        return AudioLimits(
            max_bytes=self.max_upload_bytes,
            max_seconds=self.max_seconds,
            max_channels=self.max_channels,
            max_sample_rate_hz=self.max_sample_rate_hz,
        )

    def database_url(self) -> str | None:
        """The database of feedback, which may hold a password; None where feedback is off."""
        url = (
            DEFAULT_FEEDBACK_URL
            if self.feedback_url is None
            else self.feedback_url.get_secret_value()
        )
        return None if url == FEEDBACK_OFF else url

    @property
    def wants_feedback(self) -> bool:
        """Whether somebody asked for it: then it is an error when it cannot be had."""
        return self.feedback_url is not None or self.save_recordings != "off"

    def keys(self) -> ApiKeys:
        """The API keys of both sources.

        Raises:
            ValueError: an entry is not of the form SCOPE:KEY, or the file cannot be read.
        """
        listed_keys = self.api_keys.get_secret_value()
        entries = listed_keys.split(",")
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
        if not keys.digests and (listed_keys or self.api_keys_file):
            raise ValueError("API keys are wanted and none is given; write SCOPE:KEY")
        return keys

    @model_validator(mode="after")
    def _check_label_studio(self) -> Self:
        root, url = self.label_studio_root, self.label_studio_url
        if root is not None and not root.is_dir():
            raise ValueError(f"EARFUL_LABEL_STUDIO_ROOT ({root}) is no folder")
        if url is not None and not _is_server_url(url):
            raise ValueError(
                "EARFUL_LABEL_STUDIO_URL must be http:// or https:// with a host, without a user, "
                "a query or a fragment"
            )
        if self.label_studio_token.get_secret_value() and url is None:
            raise ValueError(
                "EARFUL_LABEL_STUDIO_TOKEN is for EARFUL_LABEL_STUDIO_URL, which is not set"
            )
        return self

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        self.keys()
        if self.save_recordings != "off" and self.database_url() is None:
            raise ValueError(
                f"EARFUL_SAVE_RECORDINGS is {self.save_recordings!r} and feedback is off: nothing could be "
                "kept; change one of them"
            )
        if self.max_files > self.max_queue:
            raise ValueError(
                f"EARFUL_MAX_FILES ({self.max_files}) is more than EARFUL_MAX_QUEUE "
                f"({self.max_queue}): such a request could never run; change one of them"
            )
        if self.max_request_bytes > self.max_bytes_in_flight:
            raise ValueError(
                f"EARFUL_MAX_REQUEST_BYTES ({self.max_request_bytes}) is more than "
                f"EARFUL_MAX_BYTES_IN_FLIGHT ({self.max_bytes_in_flight}): such a request could "
                "never run; change one of them"
            )
        return self


def _is_server_url(text: str) -> bool:
    """Whether a text is an address of a server, and nothing besides."""
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and "@" not in url.netloc
    return plain and usable and not url.query and not url.fragment
