"""Progress of a run: printed lines, and a transient panel on a terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from earful.training.runs.live_view import LivePanel, sparkline
from earful.training.runs.progress import TrainingProgress, training_progress
from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.layer_health import LayerHealth

DEAD = (LayerHealth("blocks.1", 0.75, 1e-3),)


def record(epoch: int, val_loss: float, layers: tuple[LayerHealth, ...] = ()) -> EpochRecord:
    return EpochRecord(epoch, 2 * val_loss, 0.5, val_loss, 0.625, 1.5, 1e-3, layers)


HISTORY = [record(n, loss) for n, loss in enumerate([0.9, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8], 1)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(progress: TrainingProgress) -> None:
    """Report three epochs; most units of a layer are dead from the second on."""
    for epoch in (1, 2, 3):
        for done in range(1, 5):
            progress.on_batch(epoch, done, 4)
        layers = DEAD if epoch > 1 else ()
        progress.on_epoch(record(epoch, 1 / epoch, layers))


def rendered(panel: LivePanel, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(panel)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_log_has_a_line_per_epoch_and_each_warning_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with training_progress(3) as progress:
        run(progress)
    lines = capsys.readouterr().err.splitlines()
    epoch_lines = [line[:11] for line in lines if line.startswith("epoch")]
    assert epoch_lines == ["epoch   1/3", "epoch   2/3", "epoch   3/3"]
    assert [line for line in lines if "warning" in line] == [lines[2]]
    assert "75 % of the units of blocks.1 are dead" in lines[2]


def test_terminal_keeps_the_same_lines_after_the_panel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "200")
    with training_progress(3, batch_size=64) as progress:
        run(progress)
    written = terminal.getvalue()
    assert "epoch 1 of 3 at most" in written
    for epoch in (1, 2, 3):
        assert written.count(f"epoch   {epoch}/3  loss") == 1
    assert written.count("warning: 75 %") == 1
    assert written.endswith("\x1b[1A\x1b[2K")  # the panel's last line was erased


def test_panel_always_shows_the_latest_epochs_and_the_best() -> None:
    panel = LivePanel(epochs=9)
    for epoch in HISTORY:
        panel.on_epoch(epoch)
    rows = [line for line in rendered(panel).splitlines() if "62.5 %" in line]
    assert [line.split()[1] for line in rows] == ["2", "4", "5", "6", "7"]
    assert [("best" in line) for line in rows] == [True, False, False, False, False]
    assert "▁" in rendered(panel)


def test_panel_shows_clips_per_second_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([10.0, 12.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    panel = LivePanel(epochs=3, batch_size=64)
    panel.on_batch(1, 10, 100)
    rendered(panel)
    panel.on_batch(1, 30, 100)
    text = rendered(panel)
    assert "640 clips/s" in text  # 20 batches of 64 in two seconds
    assert "0:27 left" in text  # 270 batches at ten a second


def test_narrow_terminal_shows_validation_columns_only() -> None:
    panel = LivePanel(epochs=9, batch_size=64)
    panel.on_epoch(replace(HISTORY[0], layers=DEAD))
    text = rendered(panel, width=50)
    assert "0.9000" in text
    assert "1.8000" not in text
    assert "…" not in text
    assert "! 75 % of the units" in text
    assert max(map(len, text.splitlines())) == 50


def test_the_next_run_of_several_begins_with_an_empty_table() -> None:
    panel = LivePanel(epochs=9)
    for epoch in [*HISTORY, record(1, 0.33)]:
        panel.on_epoch(epoch)
    assert panel.history == [record(1, 0.33)]


@pytest.mark.parametrize("n", [1, 2, 39, 40, 41, 500])
def test_a_sparkline_of_a_rising_curve_rises_and_fits(n: int) -> None:
    line = sparkline([float(i) for i in range(n)])
    assert len(line) == min(n, 40)
    assert list(line) == sorted(line)
    assert n == 1 or (line[0], line[-1]) == ("▁", "█")


def test_a_sparkline_of_a_flat_curve_is_flat() -> None:
    assert sparkline([0.5] * 7) == "▁" * 7
