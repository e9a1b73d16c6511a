"""The settings of the speech encoder's front end, without torch.

The weights of ``models.layers.speech_encoder`` were trained on one log-mel: 32 bands from 60 to
3,800 Hz, windows of 25 ms every 10 ms. At another sample rate than 16 kHz the windows have the same
length in seconds.
"""

from dataclasses import replace

from earful.data.features.config import FeatureConfig, FeatureError
from earful.data.features.kinds import FeatureKind

ENCODER_RATE_HZ = 16_000
BANDS = 32
WINDOW_SECONDS, HOP_SECONDS, FFT_SECONDS = 0.025, 0.01, 0.032
F_MIN_HZ, F_MAX_HZ = 60.0, 3_800.0
# Silence on each side of a clip. The encoder sees 0.76 s at a time, so a word near an edge would
# lie in few of its windows: with ten clips a keyword, 90 % are correct with 0.4 s, 88 % with 0.2 s
# and 75 % without.
PADDING_SECONDS = 0.4


def encoder_features(config: FeatureConfig) -> FeatureConfig:
    """The encoder's front end for the clips of ``config``, with the silence around them.

    Raises:
        FeatureError: a sample rate below 7,600 Hz.
    """
    rate_hz = config.sample_rate_hz
    if rate_hz < 2 * F_MAX_HZ:
        raise FeatureError(
            f"the speech encoder uses frequencies up to {F_MAX_HZ:g} Hz and needs clips of "
            f"{2 * F_MAX_HZ:g} Hz or more, found {rate_hz}; prepare with --sample-rate 8000"
        )
    return replace(
        config,
        clip_seconds=(config.clip_samples + 2 * padding_samples(config)) / rate_hz,
        n_fft=2 * round(FFT_SECONDS * rate_hz / 2),
        win_length=2 * round(WINDOW_SECONDS * rate_hz / 2),
        hop_length=round(HOP_SECONDS * rate_hz),
        n_mels=BANDS,
        n_mfcc=BANDS,
        f_min_hz=F_MIN_HZ,
        f_max_hz=F_MAX_HZ,
    )


def padding_samples(config: FeatureConfig) -> int:
    """Samples of silence that the encoder's front end adds on each side of a clip."""
    return round(PADDING_SECONDS * config.sample_rate_hz)


def feature_shape(config: FeatureConfig, kind: FeatureKind) -> tuple[int, int]:
    """Bins and frames of one clip's features; a waveform is one bin of ``clip_samples`` frames.

    Raises:
        FeatureError: the speech encoder does not take clips of this sample rate.
    """
    match kind:
        case "mfcc":
            return config.n_mfcc, config.frames
        case "log_mel":
            return config.n_mels, config.frames
        case "encoder":
            return BANDS, encoder_features(config).frames
        case "waveform":
            return 1, config.clip_samples
