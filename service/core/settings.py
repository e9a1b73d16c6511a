"""Settings of a service: environment variables ``EARFUL_*``, overridden by the command line."""

import os
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from earful.data.audio.decode import AudioLimits
from earful.models.bundle.device import Device
from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.models.registry.source import ModelSource, open_source
from earful.service.core.auth import ApiKeys
from earful.service.core.defaults import (
    DEFAULT_FEEDBACK_URL,
    DEFAULT_JOBS_FOLDER,
    DEFAULT_MAX_RECORDINGS_BYTES,
    DEFAULT_RECORDINGS_FOLDER,
    DEFAULT_RETENTION_DAYS,
    DEFAULT_RETRAIN_FOLDER,
    FEEDBACK_OFF,
    JOBS_OFF,
)
from earful.service.core.host_names import AllowedHosts

# The command installed next to this interpreter.
_COMMAND = (str(Path(sysconfig.get_path("scripts")) / "earful"),)
# Of a stream's frame; uvicorn refuses larger ones before they are read.
MAX_FRAME_BYTES = 1 << 20
# Requests in progress at shutdown get this long.
SHUTDOWN_TIMEOUT_SECONDS = 20
# Larger uploads are kept in temporary files.
SPOOL_BYTES = 1 << 20
# Of audio that is held and decoded in memory as a whole.
MAX_WHOLE_BYTES, MAX_WHOLE_SECONDS = 10_000_000, 60.0
# Infinity is no limit that a person means.
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SaveRecordings = Literal["off", "feedback", "uncertain", "all"]


class Settings(BaseSettings):
    """Limits are per file unless stated otherwise."""

    model_config = SettingsConfigDict(env_prefix="EARFUL_", extra="forbid", frozen=True)

    # A file, or NAME, NAME@ALIAS or NAME@NUMBER of the registry.
    model: Annotated[str, BeforeValidator(os.fspath)]
    registry: str = DEFAULT_REGISTRY  # a folder, or a URL that fsspec supports
    retrain_dir: Path = DEFAULT_RETRAIN_FOLDER  # work folder of POST /v1/retrain
    # The `earful` command that POST /v1/retrain runs, as a JSON list.
    command: tuple[str, ...] = _COMMAND
    device: Device = "cpu"
    reject: bool = False  # label clips below the model's threshold `unknown`
    max_upload_bytes: PositiveInt = 200_000_000
    max_request_bytes: PositiveInt = 400_000_000  # of all files of one request
    max_bytes_in_flight: PositiveInt = 200_000_000  # of all requests of a worker, in memory
    max_spool_bytes: PositiveInt = 1_000_000_000  # of a worker's large uploads, in temporary files
    max_files: PositiveInt = 64  # files of one request
    max_seconds: Positive = 3600.0
    max_channels: PositiveInt = 8
    max_sample_rate_hz: PositiveInt = 192_000
    max_queue: PositiveInt = 128  # files in progress per worker; more get 429
    # Recordings over a minute read at once per worker; others wait.
    max_long_recordings: PositiveInt = 1
    max_streams: NonNegativeInt = 32  # open streams per worker
    deadline_seconds: Positive = 15.0  # from request to response; then 504
    deadline_per_audio_second: NotNegative = 0.5  # added for each second of long recordings
    min_upload_bytes_per_second: PositiveInt = 50_000  # of large uploads; slower ones get 408
    # After SIGTERM, how long /readyz gives 503 before the server closes.
    drain_seconds: NotNegative = 2.0
    # Open per worker; idle ones are closed for more, then they get 503.
    max_connections: PositiveInt = 1_000
    # Of a request's line and headers; larger ones get 431.
    max_header_bytes: int = Field(32_768, ge=4_096)
    max_headers: int = Field(100, ge=16, le=120)  # of a request; more get 431
    header_seconds: Positive = 10.0  # for a request's line and headers; then 408
    keep_alive_seconds: PositiveInt = 5  # between two requests; then the connection is closed
    write_stall_seconds: Positive = 30.0  # a client may not read its response
    allowed_hosts: str = ""  # names that requests may be for: NAME,*.NAME, or * for any
    api_keys: SecretStr | None = None  # SCOPE:KEY,... with the scopes classify, feedback and admin
    api_keys_file: Path | None = None  # a file with SCOPE:KEY on each line
    label_studio_root: Path | None = None  # folder that holds the audio of Label Studio's tasks
    # Address of the Label Studio server that audio may be fetched from.
    label_studio_url: str | None = None
    label_studio_token: SecretStr = SecretStr("")  # its access token
    # Lowest score of a region prelabelled in Label Studio.
    label_studio_min_score: float = Field(0.5, ge=0, le=1)
    # Database of feedback, or `off`; by default a file in artifacts/.
    feedback_url: SecretStr | None = None
    save_recordings: SaveRecordings = "off"  # which recordings are saved for training
    recordings_dir: Path = DEFAULT_RECORDINGS_FOLDER  # folder of saved recordings
    # Of feedback of one sender (a key, without keys an address); more get 429; 0 is no limit.
    max_labels_per_hour: NonNegativeInt = 1_000
    # Of recordings and labels; 0 keeps them for ever.
    retention_days: NotNegative = DEFAULT_RETENTION_DAYS
    # Of all saved recordings; the oldest are deleted; 0 is no limit.
    max_recordings_bytes: NonNegativeInt = DEFAULT_MAX_RECORDINGS_BYTES
    # Folder of the uploads of jobs, or `off`; by default artifacts/jobs.
    jobs_dir: Path | None = None
    max_job_upload_bytes: PositiveInt = 2_000_000_000  # of a file of a job
    max_job_seconds: Positive = 86_400.0  # of a file of a job
    # Of the uploads of all unfinished jobs; more get 429.
    max_jobs_bytes: PositiveInt = 20_000_000_000
    max_jobs: PositiveInt = 1_000  # unfinished jobs and kept results; more get 429
    jobs_per_worker: PositiveInt = Field(1, le=16)  # jobs that a worker runs at a time
    job_retention_hours: Positive = 24.0  # after its end a job is deleted
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def model_source(self) -> ModelSource:
        """Where the model comes from.

        Raises:
            ModelError: neither a file nor a version of the registry.
        """
        return open_source(self.model, self.registry)

    def memory_limits(self) -> AudioLimits:
        """The limits on audio that is held in memory as a whole."""
        limits = self.audio_limits()
        return replace(
            limits,
            max_bytes=min(limits.max_bytes, MAX_WHOLE_BYTES),
            max_seconds=min(limits.max_seconds, MAX_WHOLE_SECONDS),
        )

    def audio_limits(self) -> AudioLimits:
        """The limits on audio that is decoded block by block."""
        return AudioLimits(
            max_bytes=self.max_upload_bytes,
            max_seconds=self.max_seconds,
            max_channels=self.max_channels,
            max_sample_rate_hz=self.max_sample_rate_hz,
        )

    def job_audio_limits(self) -> AudioLimits:
        """The limits on audio of jobs."""
        return replace(
            self.audio_limits(),
            max_bytes=self.max_job_upload_bytes,
            max_seconds=self.max_job_seconds,
        )

    def database_url(self) -> str | None:
        """The URL of the feedback database, which may hold a password; None if feedback is off."""
        url = (
            DEFAULT_FEEDBACK_URL
            if self.feedback_url is None
            else self.feedback_url.get_secret_value()
        )
        return None if url == FEEDBACK_OFF else url

    def jobs_folder(self) -> Path | None:
        """The folder of the uploads of jobs; None if jobs are off."""
        folder = DEFAULT_JOBS_FOLDER if self.jobs_dir is None else self.jobs_dir
        return None if folder == Path(JOBS_OFF) else folder

    def hosts(self) -> AllowedHosts:
        """The names that requests may be for.

        Raises:
            ValueError: an entry is not a name.
        """
        return AllowedHosts(self.allowed_hosts)

    @property
    def wants_feedback(self) -> bool:
        """Whether feedback was explicitly configured, so that an unusable database is an error."""
        return self.feedback_url is not None or self.save_recordings != "off"

    def keys(self) -> ApiKeys:
        """The API keys of both sources.

        Raises:
            ValueError: an entry does not have the form SCOPE:KEY, or the file cannot be read.
        """
        listed_keys = None if self.api_keys is None else self.api_keys.get_secret_value()
        if listed_keys is not None and not listed_keys.strip(" ,"):
            raise ValueError(
                "EARFUL_API_KEYS is empty, which would let everyone in; write SCOPE:KEY, or unset "
                "the variable for a service without keys"
            )
        entries = listed_keys.split(",") if listed_keys else []
        if self.api_keys_file is not None:
            # Every worker reads it, and a pipe can be read only once.
            if not self.api_keys_file.is_file():
                raise ValueError(
                    f"EARFUL_API_KEYS_FILE ({self.api_keys_file}) is not a regular file"
                )
            try:
                lines = self.api_keys_file.read_text("utf-8").splitlines()
            except (OSError, UnicodeError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8"
                raise ValueError(f"cannot read {self.api_keys_file}: {reason}") from error
            lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
            if not lines:
                raise ValueError(
                    f"EARFUL_API_KEYS_FILE ({self.api_keys_file}) holds no key; write SCOPE:KEY "
                    "lines"
                )
            entries += lines
        return ApiKeys.parse(entry for entry in entries if entry.strip())

    @model_validator(mode="after")
    def _check_label_studio(self) -> Self:
        root, url = self.label_studio_root, self.label_studio_url
        if root is not None and not root.is_dir():
            raise ValueError(f"EARFUL_LABEL_STUDIO_ROOT ({root}) is not a folder")
        if url is not None and not _is_server_url(url):
            raise ValueError(
                "EARFUL_LABEL_STUDIO_URL must be http:// or https:// with a host, without a user, "
                "a query or a fragment"
            )
        if self.label_studio_token.get_secret_value() and url is None:
            raise ValueError(
                "EARFUL_LABEL_STUDIO_TOKEN needs EARFUL_LABEL_STUDIO_URL, which is not set"
            )
        return self

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        self.keys()
        self.hosts()
        if self.save_recordings != "off" and self.database_url() is None:
            raise ValueError(
                f"EARFUL_SAVE_RECORDINGS is {self.save_recordings!r} but feedback is off: nothing "
                "could be saved; change one of them"
            )
        if self.max_files > self.max_queue:
            raise ValueError(
                f"EARFUL_MAX_FILES ({self.max_files}) is more than EARFUL_MAX_QUEUE "
                f"({self.max_queue}), so such a request could never run; change one of them"
            )
        # The most that a request holds in memory: files that are just not spooled.
        in_memory = min(self.max_request_bytes, self.max_files * SPOOL_BYTES)
        request, spool = self.max_request_bytes, self.max_spool_bytes
        for low, n_low, high, n_high in (
            ("MAX_UPLOAD_BYTES", self.max_upload_bytes, "MAX_REQUEST_BYTES", request),
            ("MAX_REQUEST_BYTES", request, "MAX_SPOOL_BYTES", spool),
            ("MAX_REQUEST_BYTES", in_memory, "MAX_BYTES_IN_FLIGHT", self.max_bytes_in_flight),
        ):
            if n_low > n_high:
                raise ValueError(
                    f"EARFUL_{low} ({n_low}) is more than EARFUL_{high} ({n_high}), so such a "
                    "request could never run; change one of them"
                )
        return self


def _is_server_url(text: str) -> bool:
    """Whether a text is the plain address of a server."""
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and "@" not in url.netloc
    return plain and usable and not url.query and not url.fragment
