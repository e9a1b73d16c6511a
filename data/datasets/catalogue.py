"""All public datasets that are known by their layout."""

from earful.data.datasets.audio_mnist import AUDIO_MNIST
from earful.data.datasets.birdclef import BIRDCLEF
from earful.data.datasets.common_voice import COMMON_VOICE
from earful.data.datasets.crema_d import CREMA_D
from earful.data.datasets.emodb import EMODB
from earful.data.datasets.esc50 import ESC50
from earful.data.datasets.fsd50k import FSD50K
from earful.data.datasets.fsdd import FSDD
from earful.data.datasets.gtzan import GTZAN
from earful.data.datasets.icbhi import ICBHI
from earful.data.datasets.known_dataset import KnownDataset
from earful.data.datasets.ravdess import RAVDESS
from earful.data.datasets.speech_commands import SPEECH_COMMANDS
from earful.data.datasets.tau_urban import TAU_URBAN
from earful.data.datasets.urbansound8k import URBANSOUND8K

DATASETS: tuple[KnownDataset, ...] = (
    FSDD,
    SPEECH_COMMANDS,
    AUDIO_MNIST,
    COMMON_VOICE,
    RAVDESS,
    CREMA_D,
    EMODB,
    ESC50,
    URBANSOUND8K,
    FSD50K,
    TAU_URBAN,
    GTZAN,
    BIRDCLEF,
    ICBHI,
)
