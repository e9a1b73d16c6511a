"""A multi-label model: every interface gives the same labels and scores."""

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
from earful.service.feedback.recordings import score_margin
from tests.fixtures.chords import Chords, chord
from tests.fixtures.server import running_server
from tests.fixtures.synthetic_audio import noise, overlay_at, tone, wav
from tests.service.conftest import Client
from tests.service.http.test_stream_route import OPENING, exchange, open_stream, pcm
from tests.service.label_studio.test_label_studio import CONFIG, EVENTS

LOW_AND_MID = chord(("low", "mid"))
SOUNDS = {"one": chord(("low",)), "both": LOW_AND_MID}


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
def multi_label_client(
    chords: Chords, open_client: Callable[..., Client], tmp_path_factory: pytest.TempPathFactory
) -> Client:
    place = tmp_path_factory.mktemp("feedback")
    return open_client(
        model=chords.model,
        feedback_url=f"sqlite:///{place}/f.db",
        recordings_dir=place / "audio",
        save_recordings="feedback",
        label_studio_root=place,
    )


def classify_sound(client: Client, sound: Any) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/v1/classify", content=wav(sound)).json()
    return answer


def test_label_joins_all_scores_from_one_half_and_score_is_their_minimum(
    multi_label_client: Client, classifier: Classifier
) -> None:
    answer = classify_sound(multi_label_client, LOW_AND_MID)
    [result] = answer["results"]
    assert answer["model"]["score_kind"] == "sigmoid"
    scores = {pair["label"]: pair["score"] for pair in result["scores"]}
    assert set(scores) == {"high", "low", "mid"}
    assert result["label"] == "low|mid"
    assert result["score"] == min(scores["low"], scores["mid"]) >= 0.5 > scores["high"]
    assert sum(scores.values()) > 1.5
    [event] = result["events"]
    assert (event["label"], event["score"]) == (result["label"], result["score"])
    prediction = classifier.classify([LOW_AND_MID])[0]
    assert prediction.label == "low|mid"
    assert prediction.top_score == max(dict(prediction.ranked()).values()) >= prediction.score
    assert classify_sound(multi_label_client, SOUNDS["one"])["results"][0]["label"] == "low"


@pytest.mark.parametrize(
    ("scores", "expected_prediction"),
    [
        ((0.9, 0.8, 0.1), ("high|low", 0.8)),
        ((0.5, 0.49, 0.1), ("high", 0.5)),
        ((0.2, 0.3, 0.1), ("low", 0.3)),
        ((1.0, 1.0, 0.5), ("high|low|mid", 0.5)),
    ],
)
def test_every_clip_has_a_label(
    classifier: Classifier, scores: tuple[float, ...], expected_prediction: tuple[str, float]
) -> None:
    label, score = classifier.decide(np.array(scores, np.float32))
    assert (label, score) == (expected_prediction[0], pytest.approx(expected_prediction[1]))


def test_unknown_depends_on_the_best_score(chords: Chords, tmp_path: Path) -> None:
    graph = onnx.load(chords.model)
    for prop in graph.metadata_props:
        if prop.key == "earful.rejection_threshold":
            prop.value = "0.9"
    onnx.save(graph, tmp_path / "rejecting.onnx")
    rejecting = Classifier.open(tmp_path / "rejecting.onnx", reject=True)
    assert rejecting.decide(np.array([0.95, 0.6, 0.1], np.float32))[0] == "high|low"
    label, score = rejecting.decide(np.array([0.85, 0.84, 0.1], np.float32))
    assert (label, score) == ("unknown", pytest.approx(0.85))
    assert rejecting.decide(np.array([np.nan, 0.84, 0.1], np.float32))[0] == "unknown"


def test_other_protocols_return_the_score_of_each_label(multi_label_client: Client) -> None:
    body = {"inputs": base64.b64encode(wav(LOW_AND_MID)).decode()}
    own = multi_label_client.post("/hf", content=wav(LOW_AND_MID)).json()
    expected = classify_sound(multi_label_client, LOW_AND_MID)["results"][0]["scores"]
    assert [(s["label"], s["score"]) for s in own] == [(s["label"], s["score"]) for s in expected]

    def applied(function: str) -> list[float]:
        given = body | {"parameters": {"function_to_apply": function}}
        return [pair["score"] for pair in multi_label_client.post("/hf", json=given).json()]

    assert applied("sigmoid") == [pair["score"] for pair in own]
    assert sum(applied("softmax")) == pytest.approx(1, abs=1e-5)
    logits = np.array(applied("none"))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), applied("sigmoid"), atol=1e-5)
    parameters = multi_label_client.get("/v2/models/chords").json()["parameters"]
    assert parameters == {"labels": "high,low,mid", "score_kind": "sigmoid"}


def classify_csv(earful: Callable[..., Result], *arguments: object) -> str:
    done = earful("classify", *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
def test_rows_hold_the_joined_label_and_each_label(
    earful: Callable[..., Result], chords: Chords, folder: Path, tmp_path: Path
) -> None:
    text = classify_csv(earful, folder, "--model", chords.model)
    rows = {Path(row["filename"]).stem: row for row in csv.DictReader(io.StringIO(text))}
    assert {name: row["label"] for name, row in rows.items()} == {"one": "low", "both": "low|mid"}
    assert "label_1" not in rows["both"]
    text = classify_csv(earful, folder / "both.wav", "--model", chords.model, "--top-k", 2)
    [row] = csv.DictReader(io.StringIO(text))
    assert row["label"] == "low|mid"
    assert {row["label_1"], row["label_2"]} == {"low", "mid"}
    assert float(row["score"]) == float(row["score_2"]) <= float(row["score_1"])
    for suffix in ("jsonl", "parquet", "csv"):
        out = tmp_path / f"r.{suffix}"
        classify_csv(earful, folder, "--model", chords.model, "--top-k", 3, "--out", out)
        results = {Path(r.filename).stem: (r.label, r.score) for r in read_results(out)}
        assert results["both"] == ("low|mid", pytest.approx(float(row["score"])))
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    [both] = [json.loads(line) for line in lines if "both" in line]
    assert [pair["label"] for pair in both["scores"]][2] == "high"


def test_expected_label_sets_are_normalised_to_one_order(
    earful: Callable[..., Result], chords: Chords, folder: Path, tmp_path: Path
) -> None:
    (folder / "list.csv").write_text("filename,label\nboth.wav,mid | low\none.wav,mid\n")
    listed, out = folder / "list.csv", tmp_path / "r.csv"
    classify_csv(earful, listed, "--model", chords.model, "--out", out)
    with out.open() as file:
        rows = [(row["label"], row["expected"]) for row in csv.DictReader(file)]
    assert rows == [("low|mid", "low|mid"), ("low", "mid")]


def test_windows_list_only_labels_above_the_minimum_score(
    earful: Callable[..., Result], chords: Chords, tmp_path: Path
) -> None:
    sound = overlay_at(
        chord(("low", "mid"), 0.6), 0.2, overlay_at(tone("low", 0.6), 1.2, noise(2.2, 1e-4))
    )
    (tmp_path / "day.wav").write_bytes(wav(sound))
    command = (tmp_path / "day.wav", "--model", chords.model)
    text = classify_csv(earful, *command, "--mode", "windows", "--min-score", 0.9)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["label"] for row in rows][:1] == ["low|mid"]
    assert [row["label"] for row in rows][-1:] == ["low"]
    assert all(float(row["score"]) >= 0.9 for row in rows)
    tracks = tmp_path / "tracks"
    classify_csv(earful, *command, "--out", tracks, "--format", "audacity")
    [track] = tracks.rglob("*.txt")
    assert [line.split("\t")[2] for line in track.read_text().splitlines()] == ["low|mid", "low"]
    text = classify_csv(earful, *command, "--background", "MID")
    assert [row["label"] for row in csv.DictReader(io.StringIO(text))] == ["low", "low"]


@pytest.mark.slow
def test_events_of_a_stream_have_all_labels(chords: Chords, tmp_path: Path) -> None:
    sound = overlay_at(
        tone("low"), 1.8, overlay_at(chord(("low", "mid"), 0.4), 0.5, noise(3.0, 1e-4))
    )
    with running_server(tmp_path, chords.model) as server, open_stream(server) as socket:
        replies = exchange(socket, OPENING, pcm(sound), {"type": "end"})
    events = [message for message in replies if message["type"] == "event"]
    assert [event["label"] for event in events] == ["low|mid", "low"]
    scores = {pair["label"]: pair["score"] for pair in events[0]["scores"]}
    assert events[0]["score"] == min(scores["low"], scores["mid"])
    assert "low|mid" in {m["label"] for m in replies if m["type"] == "result"}


def test_a_correction_may_name_several_labels(multi_label_client: Client, client: Client) -> None:
    prediction_id = classify_sound(multi_label_client, LOW_AND_MID)["results"][0]["prediction_id"]

    def post_feedback(label: str, **more: Any) -> Any:
        given = {"prediction_id": prediction_id, "label": label, "annotator": "anna"} | more
        return multi_label_client.post("/v1/feedback", json=given)

    assert post_feedback("mid | high").status_code == 201
    assert post_feedback("high|mid").json()["duplicate"]  # the same labels in another order
    assert post_feedback("mid|hum").json()["error"]["code"] == "unknown_label"
    assert "'hum' is none" in post_feedback("mid|hum").json()["error"]["message"]
    assert post_feedback("mid|hum", new_label=True).status_code == 201
    assert post_feedback("mid||hum").json()["error"]["code"] == "malformed_request"
    form = {"label": "mid|high", "annotator": "bob"}
    kept = multi_label_client.post(
        "/v1/feedback", data=form, files={"file": ("x.wav", wav(LOW_AND_MID))}
    )
    assert kept.json()["recording_saved"]
    page = multi_label_client.get("/v1/review?annotator=carl").json()
    assert page["score_kind"] == "sigmoid"
    assert page["labels"] == ["high", "low", "mid", "hum"]
    [clip] = page["clips"]
    assert clip["prediction"]["label"] == "low|mid"
    assert clip["label_counts"] == {"hum|mid": 1, "high|mid": 1}


def test_single_label_model_refuses_label_sets(
    model: Path, open_client: Callable[..., Client], tmp_path: Path
) -> None:
    one = open_client(
        model=model, feedback_url=f"sqlite:///{tmp_path}/f.db", recordings_dir=tmp_path / "audio"
    )
    answer = one.post("/v1/classify", content=wav(tone("low"))).json()
    assert answer["model"]["score_kind"] == "softmax"
    given = {"prediction_id": answer["results"][0]["prediction_id"], "annotator": "anna"}
    refused = one.post("/v1/feedback", json=given | {"label": "low|mid", "new_label": True})
    assert refused.json()["error"]["code"] == "unknown_label"
    assert "one for each recording" in refused.json()["error"]["message"]


def test_uncertainty_is_the_margin_to_the_other_decision() -> None:
    assert score_margin(np.array([0.9, 0.55, 0.1], np.float32), "sigmoid") == pytest.approx(0.1)
    assert score_margin(np.array([0.9, 0.05, 0.05], np.float32), "softmax") == pytest.approx(0.85)
    two = np.array([0.7, 0.3], np.float32)  # one label, present or absent
    assert score_margin(two, "softmax") == pytest.approx(score_margin(two[:1], "sigmoid"))


MULTIPLE = CONFIG.replace('toName="sound"', 'toName="sound" choice="multiple"')


@pytest.mark.parametrize(("config", "choices"), [(MULTIPLE, {"low", "mid"}), (CONFIG, None)])
def test_label_studio_gets_as_many_choices_as_it_takes(
    multi_label_client: Client, config: str, choices: set[str] | None
) -> None:
    [result] = prelabel(multi_label_client, LOW_AND_MID, config)["result"]
    given = result["value"]["choices"]
    assert set(given) == choices if choices else given in (["low"], ["mid"])


def test_label_studio_gets_regions_of_each_label(multi_label_client: Client) -> None:
    sound = overlay_at(tone("mid", 0.5), 0.2, overlay_at(tone("low", 1.6), 0.2, noise(2.4, 1e-4)))
    regions = {
        result["value"]["labels"][0]: (result["value"]["start"], result["value"]["end"])
        for result in prelabel(multi_label_client, sound, EVENTS)["result"]
    }
    assert regions["low"][0] <= regions["mid"][0]
    assert regions["low"][1] > regions["mid"][1]


def prelabel(client: Client, sound: Any, config: str) -> dict[str, Any]:
    root = client.app.service.settings.label_studio_root
    assert root is not None
    (root / "a.wav").write_bytes(wav(sound))
    tasks = [{"id": 1, "data": {"clip": "/data/local-files/?d=a.wav"}}]
    body = {"tasks": tasks, "label_config": config}
    result: dict[str, Any] = client.post("/predict", json=body).json()["results"][0]
    return result


def test_multiple_choices_from_label_studio_are_stored(multi_label_client: Client) -> None:
    root = multi_label_client.app.service.settings.label_studio_root
    assert root is not None
    (root / "chord.wav").write_bytes(wav(chord(("mid", "high"), 0.41)))
    value = {"choices": ["mid", "high"]}
    event = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 1, "label_config": MULTIPLE},
        "task": {"id": 1, "data": {"clip": "/data/local-files/?d=chord.wav"}},
        "annotation": {"completed_by": 7, "result": [{"from_name": "word", "value": value}]},
    }
    assert multi_label_client.post("/webhook", json=event).status_code == 201
    annotations = multi_label_client.get("/v1/feedback/subjects/label-studio:7").json()[
        "annotations"
    ]
    assert [row["label"] for row in annotations] == ["high|mid"]


def test_label_sets_round_trip_through_label_studio(
    earful: Callable[..., Result], chords: Chords, tmp_path: Path
) -> None:
    base = chords.labels_csv.parent
    file_names = {
        "label-studio": "t.json",
        "label-studio-min": "m.json",
        "label-studio-csv": "c.csv",
    }
    for form, name in file_names.items():
        export = ("labels", "export", chords.labels_csv, "--format", form)
        done = earful(*export, "--audio-dir", base, "--out", tmp_path / name)
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
    assert "several labels, 'high|mid', and can be in one folder only" in str(refused.exception)
    assert not (tmp_path / "f").exists()
