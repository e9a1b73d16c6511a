"""Decoding on Ray equals decoding in this process."""

from pathlib import Path

import pytest

from earful.data.dataset.ray_prepare import ClusterError, measure_on_ray
from earful.data.features.config import FeatureConfig
from earful.data.labels.labels_csv import read_labels
from tests.fixtures.forked_command import run_forked
from tests.fixtures.synthetic_audio import PITCHES_HZ, tone, wav


@pytest.mark.slow
def test_dataset_prepared_on_ray_is_identical(tmp_path: Path) -> None:
    rows = ["filename,label,start,end"]
    for number in range(150):
        label = list(PITCHES_HZ)[number % 3]
        blob = b"RIFF" if number == 70 else wav(tone(label, 0.3 + 0.005 * number))
        (tmp_path / f"{number}.wav").write_bytes(blob)
        rows.append(f"{number}.wav,{label},,")
    rows += ["0.wav,low,0.1,0.2", "0.wav,low,0.2,9.0"]
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    for engine in ("local", "ray"):
        words = ["prepare", tmp_path / "labels.csv", "--out", tmp_path / engine, "--skip-bad"]
        done = run_forked([*words, "--split", "random", "--engine", engine], timeout=250)
        assert done.returncode == 1, done.stderr
        assert "unsupported_format" in done.stderr
        assert "bad_segment" in done.stderr
    files = sorted(path.name for path in (tmp_path / "local").iterdir())
    assert len(files) >= 5
    for name in files:
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:99999", ":"])
def test_missing_ray_cluster_is_an_error(tmp_path: Path, address: str) -> None:
    (tmp_path / "labels.csv").write_text("filename,label\na.wav,a\n", encoding="utf-8")
    clips = read_labels(tmp_path / "labels.csv").clips
    with pytest.raises(ClusterError, match="no Ray cluster at"):
        list(measure_on_ray(clips, FeatureConfig.for_rate(8_000), address))
