"""A folder of recordings with awkward file names and labels."""

from pathlib import Path

import pytest
import soundfile

from earful.data.labels.clip import Clip, Provenance
from tests.fixtures.synthetic_audio import RATE_HZ, tone

# (name, label): labels with a special meaning in a file system, a spreadsheet or a parser.
AWKWARD = [
    ("a.wav", "10"),
    ("b c+d.wav", "é/ö"),
    ("50%25#?.wav", "=1+1"),
    ("sub/a.wav", '{"choices": ["x"]}'),
    ("sub/a.flac", "[1]"),
    ("sub/deep/ü,;.wav", "CON"),
    ("sub/deep/'q\"&<b>.wav", "a%2Fb"),
    ("00000000-up.wav", '"quoted" & <b>'),
    ("one.two.wav", "50%"),
    ("three.wav", ".."),
    ("four.ogg", "2"),
    ("five.wav", "~x<y:z*?"),
]


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings of ``AWKWARD``, each of a different length, so no two are equal."""
    folder = tmp_path_factory.mktemp("recordings")
    for number, (name, _) in enumerate(AWKWARD):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone("mid", 0.4 + number / 100), RATE_HZ)
    return folder


@pytest.fixture
def clip_annotations(recordings: Path) -> list[Clip]:
    """A label of each recording, with all fields set."""
    return [
        Clip(
            0,
            name,
            recordings / name,
            label,
            speaker=f"s {n % 3}",
            split=("train", "test", "")[n % 3],
            provenance=Provenance("raven:x.txt", f"ann{n % 2}", "2026-01-02T03:04:05Z", str(n)),
        )
        for n, (name, label) in enumerate(AWKWARD)
    ]


@pytest.fixture
def segment_annotations(recordings: Path) -> list[Clip]:
    """Two segment labels in each recording."""
    return [
        Clip(0, name, recordings / name, label, "", "", *times)
        for name, label in AWKWARD
        for times in ((0.0, 0.125), (0.100001, 0.3))
    ]
