"""API keys: which requests are accepted, and that messages show no key."""

import pytest

from earful.service.core.auth import SCOPES, ApiKeys
from earful.service.core.errors import RequestError

CLASSIFY, ADMIN = "c" * 20, "a" * 20
KEYS = ApiKeys.parse([f"classify:{CLASSIFY}", f"admin:{ADMIN}"])


def code_of(headers: dict[str, str], scope: str = "classify", keys: ApiKeys = KEYS) -> str:
    try:
        keys.check(headers, scope)  # type: ignore[arg-type]
    except RequestError as error:
        return "leaked!" if CLASSIFY in str(error) else error.code
    return "let in"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"authorization": f"Bearer {CLASSIFY}"}, "let in"),
        ({"authorization": f"bearer  {CLASSIFY} "}, "let in"),
        ({"x-api-key": CLASSIFY}, "let in"),
        ({}, "unauthorized"),
        ({"authorization": "Bearer"}, "unauthorized"),
        ({"authorization": f"Basic {CLASSIFY}"}, "unauthorized"),
        ({"x-api-key": CLASSIFY[:-1]}, "unauthorized"),
        ({"x-api-key": "ключ\udcff"}, "unauthorized"),
        ({"x-api-key": ADMIN}, "forbidden"),
    ],
)
def test_a_key_opens_its_own_scope_only(headers: dict[str, str], expected: str) -> None:
    assert code_of(headers) == expected


def test_without_configured_keys_everybody_is_let_in() -> None:
    assert code_of({}, "admin", ApiKeys()) == "let in"


def test_a_key_with_two_scopes_opens_both() -> None:
    both = ApiKeys.parse([f"classify:{ADMIN}", f"feedback:{ADMIN}"])
    assert {scope: code_of({"x-api-key": ADMIN}, scope, both) for scope in SCOPES} == {
        "classify": "let in",
        "feedback": "let in",
        "admin": "forbidden",
    }


@pytest.mark.parametrize("entry", ["secretsecretsecret", "root:secretsecretsecret", "classify:x"])
def test_malformed_key_entry_is_refused_without_being_shown(entry: str) -> None:
    with pytest.raises(ValueError, match="entry 1 is not SCOPE:KEY") as refused:
        ApiKeys.parse([entry])
    assert "secret" not in str(refused.value)
