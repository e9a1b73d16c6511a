"""Places and words that settings and commands share. Importing it costs nothing."""

from pathlib import Path

DEFAULT_FEEDBACK_URL = "sqlite:///artifacts/feedback/feedback.db"
FEEDBACK_OFF = "off"
DEFAULT_RECORDINGS_FOLDER = Path("artifacts/feedback/audio")
DEFAULT_RETRAIN_FOLDER = Path("artifacts/retrain")
