"""The OpenAPI document: routes in groups, the WebSocket among them, and what the model knows."""

from earful.service.http.api_docs import GROUPS, group_of
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ
from tests.service.conftest import Client


def test_every_documented_route_is_in_a_group_and_described(client: Client) -> None:
    document = client.get("/openapi.json").json()
    groups = [tag["name"] for tag in document["tags"]]
    used = {group_of(path) for path in document["paths"]}
    assert groups == [group.name for group in GROUPS if group.name in used]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["tags"] == [group_of(path)], f"{method} {path} is in no group"
            assert operation["summary"], f"{method} {path} has no summary"


def test_the_longest_prefix_decides_the_group() -> None:
    assert group_of("/v1/feedback") == "Feedback"
    assert group_of("/v1/feedback/subjects/{key:path}") == "Personal data"
    assert group_of("/v1/feedbacks") is None


def test_the_websocket_is_documented_and_a_plain_get_is_told_so(client: Client) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/v1/stream"]["get"]
    for word in ("pcm_f32le", '"type": "event"', "smoothing_hops", "1013"):
        assert word in operation["description"]
    assert set(operation["responses"]) == {"101", "426"}
    answer = client.get("/v1/stream")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.json()["error"]["code"] == "upgrade_required"


def test_the_model_says_what_it_knows(client: Client, stopped_client: Client) -> None:
    known = client.get("/v1/model").json()
    assert known.items() >= client.get("/readyz").json()["model"].items()
    assert sorted(known["labels"]) == sorted(PITCHES_HZ)
    assert (known["clip_seconds"], known["sample_rate_hz"]) == (1.0, RATE_HZ)
    assert stopped_client.get("/v1/model").status_code == 503
