"""The registry: versions are immutable, and changes are atomic even when a process is killed."""

import json
import random
import threading
import uuid
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import fsspec
import pytest

from earful.models.bundle.metadata import ModelError
from earful.models.registry import storage
from earful.models.registry.errors import RegistryError
from earful.models.registry.registry import Registry
from earful.models.registry.registry_source import RegistrySource
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.models.registry.source import FileSource, ModelMissing, open_source
from tests.fixtures.failing_store import URL, StoreError, register_failing_store
from tests.fixtures.forked import FORKED

FILES = {"model.onnx": b"a model", "metrics.json": b'{"accuracy": 0.9}'}
KILLS = 12


@pytest.fixture(params=["folder", "store"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry in a folder, and one in an object store."""
    if request.param == "folder":
        yield Registry(str(tmp_path / "registry"))
        return
    root = f"memory://{uuid.uuid4().hex}"
    yield Registry(root)
    fsspec.filesystem("memory").rm(root, recursive=True)


@pytest.fixture
def local(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"))


def fill(registry: Registry, count: int, name: str = "digits") -> None:
    for _ in range(count):
        registry.register(name, FILES)


def test_a_fault_in_a_program_is_not_told_as_a_place_that_cannot_be_reached() -> None:
    register_failing_store(StoreError("no route to the store"))
    with pytest.raises(RegistryError, match=r"cannot access .*no route to the store.*reachable"):
        Registry(URL).names()
    register_failing_store(TypeError("a fault"))
    with pytest.raises(TypeError, match="a fault"):
        Registry(URL).names()


def log_entries(registry: Registry) -> list[tuple[str, int]]:
    events = registry.events("digits")
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    return [(event.action, event.version) for event in events]


def test_first_version_becomes_champion_and_later_ones_are_promoted(registry: Registry) -> None:
    fill(registry, 2)
    assert registry.names() == ["digits"]
    assert registry.aliases("digits").aliases == {"champion": 1}
    registry.assign_alias("digits", "challenger", 2, "")
    assert registry.version("digits", "challenger").number == 2
    assert registry.promote("digits", reason="better").number == 2
    assert registry.aliases("digits").aliases == {"champion": 2}, (
        "a promoted version is no longer challenger"
    )
    assert registry.rollback("digits").number == 1
    with pytest.raises(RegistryError, match="no previous champion"):
        registry.rollback("digits")
    assert log_entries(registry) == [
        ("register", 1),
        ("promote", 1),
        ("register", 2),
        ("challenge", 2),
        ("promote", 2),
        ("rollback", 1),
    ]
    assert registry.events("digits")[4].reason == "better"
    assert registry.events("digits")[4].previous_version == 1


def test_repeated_rollbacks_go_back_step_by_step(registry: Registry) -> None:
    fill(registry, 3)
    registry.promote("digits", 2)
    registry.promote("digits", 3)
    assert [registry.rollback("digits").number for _ in range(2)] == [2, 1]


def test_pruning_keeps_the_champion_and_its_rollback_target(registry: Registry) -> None:
    fill(registry, 6)
    registry.promote("digits", 2)
    registry.promote("digits", 4)
    assert [version.number for version in registry.prunable("digits", 1)] == [1, 3, 5]
    registry.prune("digits", 1)
    assert [version.number for version in registry.versions("digits")] == [2, 4, 6]
    assert registry.rollback("digits").number == 2
    with pytest.raises(RegistryError, match="no previous champion"):
        registry.rollback("digits")  # version 1 was pruned
    fill(registry, 1)
    registry.prune("digits", 0)
    assert registry.register("digits", FILES).number == 8, "numbers are never reused"


def test_missing_entries_are_named_with_the_existing_ones(registry: Registry) -> None:
    with pytest.raises(RegistryError, match=r"no model 'digits' \(there are: none\)"):
        registry.version("digits")
    fill(registry, 1)
    with pytest.raises(RegistryError, match="no version 7; there are 1"):
        registry.promote("digits", 7)
    with pytest.raises(RegistryError, match="has no challenger"):
        registry.promote("digits")
    with pytest.raises(RegistryError, match="is already champion"):
        registry.promote("digits", 1)
    with pytest.raises(RegistryError, match=r"'newest' is not a version"):
        registry.version("digits", "newest")
    with pytest.raises(RegistryError, match="cannot be a model name"):
        registry.register("../escape", FILES)
    with pytest.raises(RegistryError, match=r"without card\.md"):
        registry.read("digits", registry.version("digits"), "card.md")
    assert log_entries(registry) == [("register", 1), ("promote", 1)]


def test_second_of_two_concurrent_changes_must_retry(registry: Registry) -> None:
    fill(registry, 2)
    with (
        storage.open_storage(registry.root).lock("digits/.lock"),
        pytest.raises(
            RegistryError, match=r"another process is changing the registry .* try again"
        ),
    ):
        registry.promote("digits", 2)
    assert registry.aliases("digits").champion == 1
    assert registry.promote("digits", 2).number == 2


def test_many_promotions_at_once_leave_a_log_without_gaps(local: Registry) -> None:
    fill(local, 8)
    done: list[int] = []
    refused: list[str] = []

    def promote(number: int) -> None:
        try:
            done.append(Registry(local.root).promote("digits", number).number)
        except RegistryError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=promote, args=[n]) for n in range(2, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done
    assert all("another process is changing" in reason for reason in refused)
    promoted = [number for action, number in log_entries(local) if action == "promote"]
    assert sorted(promoted) == sorted([1, *done])
    assert local.aliases("digits").champion == promoted[-1]


def test_stale_lock_of_a_killed_process_is_taken_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = f"memory://{uuid.uuid4().hex}"
    registry = Registry(root)
    fill(registry, 2)
    fsspec.filesystem("memory").pipe_file(f"{root}/digits/.lock", b'{"since": 0}')
    assert registry.promote("digits", 2).number == 2
    for content in (b"not json", b"[" * 100_000, b'{"since": []}'):
        fsspec.filesystem("memory").pipe_file(f"{root}/digits/.lock", content)
        with pytest.raises(RegistryError, match="another process is changing"):
            registry.rollback("digits")


EVENT = {
    "number": 1,
    "time": "2026-01-01T00:00:00+00:00",
    "action": "promote",
    "version": 1,
    "previous_version": None,
    "created_by": "anna@host",
    "reason": "",
}


def aliases(**changes: object) -> bytes:
    """An aliases.json whose event has other values."""
    state = {"aliases": {"champion": 1}, "previous_champions": [], "event": EVENT | changes}
    return json.dumps({"schema_version": 2, **state}).encode()


def manifest(**changes: object) -> bytes:
    """The manifest of version 2 with other values."""
    version = {
        "number": 2,
        "created": EVENT["time"],
        "created_by": "anna@host",
        "parent": None,
        "request_hash": "",
        "note": "",
        "files": {"model.onnx": "0" * 64},
    }
    return json.dumps({"schema_version": 2, **version, **changes}).encode()


def test_records_without_a_change_are_read(local: Registry) -> None:
    fill(local, 2)
    folder = Path(local.root) / "digits"
    for file, content in (
        ("aliases.json", aliases()),
        ("events.jsonl", json.dumps(EVENT).encode()),
        ("versions/2/manifest.json", manifest()),
    ):
        (folder / file).chmod(0o644)
        (folder / file).write_bytes(content)
    assert local.version("digits", 2).files == {"model.onnx": "0" * 64}
    assert [event.action for event in local.events("digits")] == ["promote"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("aliases.json", b""),
        ("aliases.json", b"[]"),
        ("aliases.json", b'{"schema_version": 9}'),
        ("aliases.json", b'{"schema_version": 2, "aliases": {"champion": "two"}}'),
        ("aliases.json", b'{"schema_version": 2, "aliases": {"x": 1}, "previous_champions": []}'),
        ("aliases.json", b"[" * 100_000),
        (
            "aliases.json",
            b'{"schema_version": 2, "aliases": {"champion": 1, "champion": 2}, '
            b'"previous_champions": [], "event": null}',
        ),
        ("aliases.json", b'{"schema_version": 2, "aliases": {}, "previous_champions": []}'),
        ("aliases.json", aliases(action="sell")),
        ("aliases.json", aliases(version=True)),
        ("aliases.json", aliases(reason=5)),
        ("aliases.json", aliases(time=None)),
        ("events.jsonl", json.dumps(EVENT | {"previous_version": "1"}).encode()),
        ("versions/2/manifest.json", manifest(note=5)),
        ("versions/2/manifest.json", manifest(parent="1")),
        ("versions/2/manifest.json", manifest(created=["today"])),
        ("versions/2/manifest.json", manifest(number=2.0)),
        ("events.jsonl", b"{}\n"),
        ("events.jsonl", b"\xff\n"),
        ("versions/2/manifest.json", b"{"),
        ("versions/2/manifest.json", b'{"schema_version": 2}'),
        ("versions/2/model.onnx", b"another model"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_changes(
    local: Registry, file: str, content: bytes
) -> None:
    fill(local, 2)
    path = Path(local.root) / "digits" / file
    path.chmod(0o644)
    path.write_bytes(content)
    before = {p: p.read_bytes() for p in Path(local.root).rglob("*") if p.is_file()}
    with pytest.raises(RegistryError, match=f"{path.name}.* is damaged"):
        local.promote("digits", 2)
    assert {p: p.read_bytes() for p in Path(local.root).rglob("*") if p.is_file()} == before


def change_for_ever(root: str, ready: Connection) -> None:
    registry = Registry(root)
    ready.send_bytes(b"ready")
    while True:
        registry.register("digits", {"model.onnx": b"x" * 100_000})
        registry.promote("digits", registry.versions("digits")[-1].number)
        registry.rollback("digits")
        registry.prune("digits", 3)


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new(local: Registry) -> None:
    fill(local, 2)
    moments = random.Random(3)
    for _ in range(KILLS):
        reader, writer = FORKED.Pipe(duplex=False)
        process = FORKED.Process(target=change_for_ever, args=(local.root, writer))
        process.start()
        writer.close()
        with reader:
            reader.recv_bytes()
        process.join(moments.uniform(0.01, 0.3))
        process.kill()
        process.join()
        assert process.exitcode == -9, "it ended by itself: it read a state that it cannot use"
        champion = local.version("digits")
        local.read("digits", champion, "model.onnx")
        moves = [n for action, n in log_entries(local) if action in {"promote", "rollback"}]
        assert champion.number == moves[-1]
    local.register("digits", FILES)  # the next change deletes what killed processes left
    assert not [p for p in (Path(local.root) / "digits" / "versions").iterdir() if p.name[0] == "."]
    registered = {n for action, n in log_entries(local) if action == "register"}
    assert {version.number for version in local.versions("digits")} <= registered


def test_source_follows_its_alias_and_reports_a_missing_one(local: Registry) -> None:
    fill(local, 2)
    source = open_source("digits", local.root)
    first = source.change_tag()
    assert source.resolve().number == 1
    local.promote("digits", 2)
    assert source.change_tag() != first
    assert source.resolve().number == 2
    assert open_source("digits@1", local.root).resolve().number == 1
    assert open_source("digits@1", local.root).resolve().name == "digits"
    (Path(local.root) / "digits" / "aliases.json").write_text("{")
    missing = source.change_tag()
    assert isinstance(missing, ModelMissing)
    assert "damaged" in missing.reason


def test_a_registered_model_goes_before_a_shipped_one_of_its_name(local: Registry) -> None:
    assert open_source("digits", local.root).resolve().path == SHIPPED_MODELS["digits"]
    fill(local, 1)
    assert open_source("digits", local.root).resolve().number == 1
    assert open_source("digits-small", local.root).resolve().path == SHIPPED_MODELS["digits-small"]
    with pytest.raises(ModelError, match=r"did you mean 'digits-small'\?"):
        open_source("digits-smal", local.root)


def test_a_run_in_a_folder_of_a_shipped_name_is_refused(
    local: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("digits-small").mkdir()
    Path("digits-small", "best.pt").touch()
    with pytest.raises(ModelError, match="digits-small is a run, not a model file"):
        open_source("digits-small", local.root)


def test_a_version_in_a_store_is_copied_once_and_checked(registry: Registry) -> None:
    fill(registry, 1)
    copies = [RegistrySource(registry, "digits").resolve().path for _ in range(2)]
    assert copies[0] == copies[1]
    assert copies[0].read_bytes() == FILES["model.onnx"]


def test_version_files_are_read_only(local: Registry) -> None:
    fill(local, 1)
    model = Path(local.root) / "digits" / "versions" / "1" / "model.onnx"
    assert model.stat().st_mode & 0o222 == 0
    assert json.loads((model.parent / "manifest.json").read_text())["parent"] is None


def test_a_file_that_cannot_be_looked_at_is_not_taken_for_deleted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert isinstance(FileSource(path).change_tag(), ModelMissing)
    path.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        FileSource(path).change_tag()
