"""A model that says several labels at once: every way to ask it gives the same answer."""

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import Result

from earful.data.annotations.annotation import AnnotationError
from earful.data.annotations.table import read_table
from earful.service.batch.results import read_results
from earful.service.classifier import Classifier
from earful.service.feedback.recordings import margin_of
from tests.fixtures.chords import Chords, chord
from tests.fixtures.server import running
from tests.fixtures.sounds import noise, placed, tone, wav
from tests.service.conftest import Client
from tests.service.test_label_studio import CONFIG, EVENTS
from tests.service.test_stream import OPENING, opened, pcm, talk

BOTH = chord(("low", "mid"))
SOUNDS = {"one": chord(("low",)), "both": BOTH}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sounds")
    for name, sound in SOUNDS.items():
        (place / f"{name}.wav").write_bytes(wav(sound))
    return place


@pytest.fixture(scope="module")
def classifier(chords: Chords) -> Classifier:
    return Classifier.open(chords.model)


@pytest.fixture(scope="module")
def asked(
    chords: Chords, open_client: Callable[..., Client], tmp_path_factory: pytest.TempPathFactory
) -> Client:
    place = tmp_path_factory.mktemp("feedback")
    return open_client(
        model=chords.model, feedback_url=f"sqlite:///{place}/f.db", audio_dir=place / "audio",
        keep_audio="feedback", label_studio_root=place,
    )  # fmt: skip


def ask(client: Client, sound: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/v1/classify", content=wav(sound)).json()
    return answer


def test_the_label_is_all_that_score_half_or_more_and_the_score_the_least(
    asked: Client, classifier: Classifier
) -> None:
    answer = ask(asked, BOTH)
    [result] = answer["results"]
    assert answer["model"]["scores"] == "sigmoid"
    scores = {pair["label"]: pair["score"] for pair in result["scores"]}
    assert set(scores) == {"high", "low", "mid"}
    assert result["label"] == "low|mid"
    assert result["score"] == min(scores["low"], scores["mid"]) >= 0.5 > scores["high"]
    assert sum(scores.values()) > 1.5
    [window] = result["windows"]
    assert (window["label"], window["score"]) == (result["label"], result["score"])
    prediction = classifier.classify([BOTH])[0]
    assert prediction.label == "low|mid"
    assert prediction.top_score == max(dict(prediction.ranked()).values()) >= prediction.score
    assert ask(asked, SOUNDS["one"])["results"][0]["label"] == "low"


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.9, 0.8, 0.1), ("high|low", 0.8)),
        ((0.5, 0.49, 0.1), ("high", 0.5)),
        ((0.2, 0.3, 0.1), ("low", 0.3)),
        ((1.0, 1.0, 0.5), ("high|low|mid", 0.5)),
    ],
)
def test_no_clip_has_no_label(
    classifier: Classifier, scores: tuple[float, ...], said: tuple[str, float]
) -> None:
    label, score = classifier.answer(np.array(scores, np.float32))
    assert (label, score) == (said[0], pytest.approx(said[1]))


def test_unknown_goes_by_the_best_score(chords: Chords, tmp_path: Path) -> None:
    graph = onnx.load(chords.model)
    for prop in graph.metadata_props:
        if prop.key == "earful.rejection_threshold":
            prop.value = "0.9"
    onnx.save(graph, tmp_path / "shy.onnx")
    shy = Classifier.open(tmp_path / "shy.onnx", reject=True)
    assert shy.answer(np.array([0.95, 0.6, 0.1], np.float32))[0] == "high|low"
    assert shy.answer(np.array([0.85, 0.84, 0.1], np.float32)) == ("unknown", pytest.approx(0.85))
    assert shy.answer(np.array([np.nan, 0.84, 0.1], np.float32))[0] == "unknown"


def test_other_protocols_tell_the_scores_of_each_label(asked: Client) -> None:
    body = {"inputs": base64.b64encode(wav(BOTH)).decode()}
    own = asked.post("/hf", content=wav(BOTH)).json()
    expected = ask(asked, BOTH)["results"][0]["scores"]
    assert [(s["label"], s["score"]) for s in own] == [(s["label"], s["score"]) for s in expected]

    def applied(function: str) -> list[float]:
        given = body | {"parameters": {"function_to_apply": function}}
        return [pair["score"] for pair in asked.post("/hf", json=given).json()]

    assert applied("sigmoid") == [pair["score"] for pair in own]
    assert sum(applied("softmax")) == pytest.approx(1, abs=1e-5)
    logits = np.array(applied("none"))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), applied("sigmoid"), atol=1e-5)
    told = asked.get("/v2/models/chords").json()["parameters"]
    assert told == {"labels": "high,low,mid", "scores": "sigmoid"}


def classified(earful: Callable[..., Result], *arguments: object) -> str:
    done = earful("classify", *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_rows_have_the_answer_and_the_labels_by_themselves(
    earful: Callable[..., Result], chords: Chords, folder: Path, tmp_path: Path
) -> None:
    text = classified(earful, folder, "--model", chords.model)
    rows = {Path(row["filename"]).stem: row for row in csv.DictReader(io.StringIO(text))}
    assert {name: row["label"] for name, row in rows.items()} == {"one": "low", "both": "low|mid"}
    assert "label_1" not in rows["both"]
    text = classified(earful, folder / "both.wav", "--model", chords.model, "--top-k", 2)
    [row] = csv.DictReader(io.StringIO(text))
    assert row["label"] == "low|mid"
    assert {row["label_1"], row["label_2"]} == {"low", "mid"}
    assert float(row["score"]) == float(row["score_2"]) <= float(row["score_1"])
    for suffix in ("jsonl", "parquet", "csv"):
        out = tmp_path / f"r.{suffix}"
        classified(earful, folder, "--model", chords.model, "--top-k", 3, "--out", out)
        found = {Path(r.filename).stem: (r.label, r.score) for r in read_results(out)}
        assert found["both"] == ("low|mid", pytest.approx(float(row["score"])))
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    [both] = [json.loads(line) for line in lines if "both" in line]
    assert [pair["label"] for pair in both["scores"]][2] == "high"


def test_a_list_says_what_is_in_each_file_whatever_the_order(
    earful: Callable[..., Result], chords: Chords, folder: Path, tmp_path: Path
) -> None:
    (folder / "list.csv").write_text("filename,label\nboth.wav,mid | low\none.wav,mid\n")
    listed, out = folder / "list.csv", tmp_path / "r.csv"
    classified(earful, listed, "--model", chords.model, "--out", out)
    with out.open() as file:
        rows = [(row["label"], row["expected"]) for row in csv.DictReader(file)]
    assert rows == [("low|mid", "low|mid"), ("low", "mid")]


def test_windows_name_only_what_scores_as_high_as_asked(
    earful: Callable[..., Result], chords: Chords, tmp_path: Path
) -> None:
    sound = placed(chord(("low", "mid"), 0.6), 0.2, placed(tone("low", 0.6), 1.2, noise(2.2, 1e-4)))
    (tmp_path / "day.wav").write_bytes(wav(sound))
    text = classified(
        earful, tmp_path / "day.wav", "--model", chords.model, "--windows", "--merge",
        "--min-score", 0.9,
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["label"] for row in rows][:1] == ["low|mid"]
    assert [row["label"] for row in rows][-1:] == ["low"]
    assert all(float(row["score"]) >= 0.9 for row in rows)
    tracks = tmp_path / "tracks"
    classified(
        earful, tmp_path / "day.wav", "--model", chords.model, "--windows", "--merge",
        "--out", tracks, "--format", "audacity",
    )  # fmt: skip
    [track] = tracks.rglob("*.txt")
    assert "low|mid" in track.read_text()


def test_events_of_a_stream_have_all_labels(chords: Chords, tmp_path: Path) -> None:
    sound = placed(tone("low"), 1.8, placed(chord(("low", "mid"), 0.4), 0.5, noise(3.0, 1e-4)))
    with running(tmp_path, chords.model) as server, opened(server) as socket:
        heard = talk(socket, OPENING, pcm(sound), {"type": "end"})
    events = [message for message in heard if message["type"] == "event"]
    assert [event["label"] for event in events] == ["low|mid", "low"]
    scores = {pair["label"]: pair["score"] for pair in events[0]["scores"]}
    assert events[0]["score"] == min(scores["low"], scores["mid"])
    assert "low|mid" in {m["label"] for m in heard if m["type"] == "result"}


def test_a_correction_may_name_several_labels(asked: Client, client: Client) -> None:
    heard = ask(asked, BOTH)["results"][0]["prediction_id"]

    def give(label: str, **more: Any) -> Any:
        given = {"prediction_id": heard, "label": label, "who": "anna"} | more
        return asked.post("/v1/feedback", json=given)

    assert give("mid | high").status_code == 201
    assert give("high|mid").json()["repeated"]  # the same, written in another order
    assert give("mid|hum").json()["error"]["code"] == "unknown_label"
    assert "'hum' is none" in give("mid|hum").json()["error"]["message"]
    assert give("mid|hum", new_label=True).status_code == 201
    assert give("mid||hum").json()["error"]["code"] == "malformed_request"
    form = {"label": "mid|high", "who": "bob"}
    kept = asked.post("/v1/feedback", data=form, files={"file": ("x.wav", wav(BOTH))})
    assert kept.json()["audio_kept"]
    page = asked.get("/v1/review?who=carl").json()
    assert page["scores"] == "sigmoid"
    assert page["labels"] == ["high", "low", "mid", "hum"]
    [clip] = page["clips"]
    assert clip["heard"]["label"] == "low|mid"
    assert clip["votes"] == {"hum|mid": 1, "high|mid": 1}


def test_a_model_of_one_label_takes_no_set(
    model: Path, open_client: Callable[..., Client], tmp_path: Path
) -> None:
    one = open_client(
        model=model, feedback_url=f"sqlite:///{tmp_path}/f.db", audio_dir=tmp_path / "audio"
    )
    answer = one.post("/v1/classify", content=wav(tone("low"))).json()
    assert answer["model"]["scores"] == "softmax"
    given = {"prediction_id": answer["results"][0]["prediction_id"], "who": "anna"}
    refused = one.post("/v1/feedback", json=given | {"label": "low|mid", "new_label": True})
    assert refused.json()["error"]["code"] == "unknown_label"
    assert "one for each recording" in refused.json()["error"]["message"]


def test_doubt_is_nearness_to_the_other_answer() -> None:
    assert margin_of(np.array([0.9, 0.55, 0.1], np.float32), "sigmoid") == pytest.approx(0.1)
    assert margin_of(np.array([0.9, 0.05, 0.05], np.float32), "softmax") == pytest.approx(0.85)
    two = np.array([0.7, 0.3], np.float32)  # one label's two outcomes
    assert margin_of(two, "softmax") == pytest.approx(margin_of(two[:1], "sigmoid"))


MULTIPLE = CONFIG.replace('toName="sound"', 'toName="sound" choice="multiple"')


@pytest.mark.parametrize(("config", "choices"), [(MULTIPLE, {"low", "mid"}), (CONFIG, None)])
def test_label_studio_gets_as_many_choices_as_it_takes(
    asked: Client, config: str, choices: set[str] | None
) -> None:
    [result] = predicted(asked, BOTH, config)["result"]
    found = result["value"]["choices"]
    assert set(found) == choices if choices else found in (["low"], ["mid"])


def test_label_studio_gets_regions_of_each_label(asked: Client) -> None:
    sound = placed(tone("mid", 0.5), 0.2, placed(tone("low", 1.6), 0.2, noise(2.4, 1e-4)))
    found = {
        result["value"]["labels"][0]: (result["value"]["start"], result["value"]["end"])
        for result in predicted(asked, sound, EVENTS)["result"]
    }
    assert found["low"][0] <= found["mid"][0]
    assert found["low"][1] > found["mid"][1]


def predicted(client: Client, sound: Any, config: str) -> dict[str, Any]:
    root = client.app.service.settings.label_studio_root
    assert root is not None
    (root / "a.wav").write_bytes(wav(sound))
    tasks = [{"id": 1, "data": {"clip": "/data/local-files/?d=a.wav"}}]
    body = {"tasks": tasks, "label_config": config}
    result: dict[str, Any] = client.post("/predict", json=body).json()["results"][0]
    return result


def test_label_studio_tells_of_several_choices(asked: Client) -> None:
    root = asked.app.service.settings.label_studio_root
    assert root is not None
    (root / "told.wav").write_bytes(wav(chord(("mid", "high"), 0.41)))
    value = {"choices": ["mid", "high"]}
    event = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 1, "label_config": MULTIPLE},
        "task": {"id": 1, "data": {"clip": "/data/local-files/?d=told.wav"}},
        "annotation": {"completed_by": 7, "result": [{"from_name": "word", "value": value}]},
    }
    assert asked.post("/webhook", json=event).status_code == 201
    found = asked.get("/v1/feedback/people/label-studio:7").json()["feedback"]
    assert [row["label"] for row in found] == ["high|mid"]


def test_sets_of_labels_go_to_label_studio_and_come_back(
    earful: Callable[..., Result], chords: Chords, tmp_path: Path
) -> None:
    base = chords.labels_csv.parent
    for form, name in (
        ("label-studio", "t.json"), ("label-studio-min", "m.json"), ("label-studio-csv", "c.csv"),
    ):  # fmt: skip
        done = earful(
            "labels", "export", chords.labels_csv, "--format", form, "--audio-dir", base,
            "--out", tmp_path / name,
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        back = tmp_path / f"{form}.csv"
        done = earful("labels", "import", tmp_path / name, "--audio-dir", base, "--out", back)
        assert done.exit_code == 0, done.output
        given, found = (
            sorted((a.path.name, a.label) for a in read_table(place).annotations)
            for place in (chords.labels_csv, back)
        )
        assert given == found
    refused = earful(
        "labels", "export", chords.labels_csv, "--format", "folders", "--out", tmp_path / "f"
    )
    assert isinstance(refused.exception, AnnotationError)
    assert "several labels, 'high|mid', and lies in one folder" in str(refused.exception)
    assert not (tmp_path / "f").exists()
