"""Defaults and constants that settings, commands and results share; it loads nothing else."""

from pathlib import Path

DEFAULT_FEEDBACK_URL = "sqlite:///artifacts/feedback/feedback.db"
FEEDBACK_OFF = "off"
DEFAULT_RECORDINGS_FOLDER = Path("artifacts/feedback/audio")
DEFAULT_RETENTION_DAYS = 365.0
DEFAULT_MAX_RECORDINGS_BYTES = 10_000_000_000
DEFAULT_RETRAIN_FOLDER = Path("artifacts/retrain")
DEFAULT_JOBS_FOLDER = Path("artifacts/jobs")
JOBS_OFF = "off"
SCORE_DIGITS = 6  # decimals of a score in responses and tables
