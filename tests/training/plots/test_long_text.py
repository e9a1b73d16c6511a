"""Names of labels of any length and script are whole in the picture of confusions."""

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from earful.training.plots import plots
from earful.training.plots.long_text import middle_ellipsis, quiet_drawing, wrap
from earful.training.plots.plots import plot_confusion

LONG = [
    "Domestic animals, pets (barking, near the microphone)",
    "Electric_guitar_distorted/through_an_amplifier_in_a_large_room",
    "Rain on a window",
    "日本語のとても長いラベル名です 🐕",
]
TITLE = "tcresnet, the clips of the test split of a dataset with a very long name, 1,234 clips"


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are made."""
    made: list[Figure] = []

    class Kept(Figure):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    monkeypatch.setattr(plots, "Figure", Kept)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("n_labels", [2, 4, 30])
def test_long_names_and_title_are_whole_without_a_warning(
    n_labels: int, figure: list[Figure], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = [f"{LONG[n % 4]} {n}" for n in range(n_labels)]
    path = tmp_path / "confusion.png"
    with caplog.at_level(logging.DEBUG, "earful"):
        plot_confusion(np.eye(n_labels, dtype=int).tolist(), labels, TITLE, path)
    assert caplog.text == ""
    [drawn] = figure
    axes, title = drawn.axes[0], drawn.get_suptitle()
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        names = [tick.get_text().replace("\n", "").replace(" ", "") for tick in ticks]
        assert names == [label.replace(" ", "") for label in labels]
    assert title.replace("\n", " ") == TITLE
    height, width = imread(path).shape[:2]
    renderer: Any = FigureCanvasAgg(drawn).get_renderer()
    with quiet_drawing():
        whole = drawn.get_tightbbox(renderer)
        boxes = [tick.get_window_extent(renderer) for tick in axes.get_yticklabels()]
    assert width >= 120 * whole.width
    assert height >= 120 * whole.height
    # Names do not run into each other.
    assert all(low.y1 <= high.y0 + 1 for high, low in pairwise(boxes))


def test_short_names_stay_as_they_are() -> None:
    assert wrap("seven") == "seven"
    assert middle_ellipsis("seven", 5) == "seven"


@pytest.mark.parametrize("name", [*LONG, "x" * 100, "a_b_c_d_e_f_g_h_i_j_k_l_m_n_o_p_q"])
def test_wrapped_lines_are_short_and_lose_nothing(name: str) -> None:
    lines = wrap(name, 12).split("\n")
    assert all(0 < len(line) <= 12 for line in lines)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")


def test_beginning_and_end_of_an_endless_name_are_kept() -> None:
    short = middle_ellipsis("begin" + "x" * 500 + "end", 21)
    assert len(short) == 21
    assert short.startswith("begin")
    assert short.endswith("end")
    assert "…" in short
