"""The export to a static site: what is in the folder, and what is refused. No browser is needed."""

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from earful.data.atomic_write import OutputError
from earful.models.bundle.metadata import ModelError
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.service.classifier import Classifier
from earful.training.cli import build_app
from earful.training.export import web_runtime
from earful.training.export.web_runtime import (
    SCRIPT,
    SHA512,
    VERSION,
    WASM,
    WebRuntime,
    WebRuntimeError,
    read_web_runtime,
)
from earful.training.export.web_site import write_site
from tests.fixtures.web_runtime import web_runtime_package

MODEL = SHIPPED_MODELS["digits-small"]
RUNTIME = WebRuntime({SCRIPT: b"export default 1;", WASM: b"\0asm"})
# Modules that ask a server, or send it something.
SERVER_MODULES = {
    "upload",
    "feedback",
    "server_stream",
    "sent_corrections",
    "map_request",
    "review",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sites") / "site"
    write_site(MODEL, "digits-small", folder, RUNTIME)
    return folder


def earful(*arguments: object) -> Result:
    return CliRunner().invoke(build_app(), [str(a) for a in arguments])


def names_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_folder_has_the_model_the_runtime_and_the_page(site: Path) -> None:
    names = names_in(site)
    assert {
        "index.html", "model.json", "NOTICE.txt", "service_worker.js",
        f"runtime/{SCRIPT}", f"runtime/{WASM}", "web/on_device/app.js", "web/timeline/timeline.js",
    } <= names  # fmt: skip
    assert (site / "model.onnx").read_bytes() == MODEL.read_bytes()


def test_modules_are_complete_and_none_of_them_asks_a_server(site: Path) -> None:
    modules = set((site / "web").rglob("*.js"))
    assert not {path.stem for path in modules} & SERVER_MODULES
    for path in modules:
        text = path.read_text("utf-8")
        assert "WebSocket(" not in text
        assert not re.search(r"fetch\(\W*v[12]/", text)
        for reference in re.findall(r'"(\.\.?/[^"]+\.js)"', text):
            assert (path.parent / reference).resolve() in modules, (path, reference)


def test_the_page_names_no_other_host_and_no_absolute_path(site: Path) -> None:
    page = (site / "index.html").read_text("utf-8")
    for value in re.findall(r'(?:href|src)="([^"]*)"', page):
        assert not urlparse(value).netloc
        assert not value.startswith("/")
        assert (site / value).is_file()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert rules["script-src"] == ["'self'", "'wasm-unsafe-eval'"]
    assert {source for sources in rules.values() for source in sources} <= {
        "'none'", "'self'", "'wasm-unsafe-eval'", "data:", "blob:",
    }  # fmt: skip
    assert page.count("<template id=") == 3


def test_model_json_has_what_the_metadata_says(site: Path) -> None:
    written = json.loads((site / "model.json").read_text("utf-8"))
    metadata = Classifier.open(MODEL).metadata
    assert tuple(written["labels"]) == metadata.labels
    assert written["rejection_threshold"] == metadata.rejection_threshold
    np.testing.assert_allclose(written["event_min_scores"], metadata.rejection_threshold, rtol=1e-6)
    assert written["clip_samples"] == metadata.features.clip_samples
    assert written["sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert written["golden"]["probabilities"] == list(metadata.golden.probabilities)
    assert all((site / written["runtime"][name]).is_file() for name in ("script", "wasm"))


def test_the_notice_has_versions_licences_and_the_hash_of_every_other_file(site: Path) -> None:
    text = (site / "NOTICE.txt").read_text("utf-8")
    for part in (VERSION, SHA512, "MIT", "Apache License 2.0", "Copyright (c) Microsoft"):
        assert part in text
    hashes = dict(
        reversed(line.split("  ")) for line in re.findall(r"^[0-9a-f]{64}  .*$", text, re.M)
    )
    assert set(hashes) == names_in(site) - {"NOTICE.txt", "service_worker.js"}
    for name, digest in hashes.items():
        assert hashlib.sha256((site / name).read_bytes()).hexdigest() == digest


def test_the_service_worker_keeps_every_file_and_changes_with_them(
    site: Path, tmp_path: Path
) -> None:
    def head(folder: Path) -> tuple[str, dict[str, str]]:
        line = (folder / "service_worker.js").read_text("utf-8").splitlines()[0]
        build, hashes = re.fullmatch(r'const BUILD = "(\w+)", HASHES = (\{.*\});', line).groups()  # type: ignore[union-attr]
        return build, json.loads(hashes)

    build, hashes = head(site)
    assert set(hashes) == names_in(site) - {"service_worker.js", "index.html"} | {"./"}
    for name, digest in hashes.items():
        content = (site / ("index.html" if name == "./" else name)).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    write_site(MODEL, "digits-small", tmp_path / "again", RUNTIME)
    assert head(tmp_path / "again")[0] == build
    write_site(MODEL, "another name", tmp_path / "again", RUNTIME)
    assert head(tmp_path / "again")[0] != build


def test_a_folder_of_other_files_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not an earlier result"):
        write_site(MODEL, "digits", tmp_path, RUNTIME)
    assert names_in(tmp_path) == {"thesis.txt"}


def test_a_damaged_model_makes_no_site(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(MODEL.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        write_site(tmp_path / "model.onnx", "digits", tmp_path / "site", RUNTIME)
    assert not (tmp_path / "site").exists()


# --- the package of ONNX Runtime Web ---


def test_without_the_package_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    done = earful("export", MODEL, "--target", "web", "--out", tmp_path / "site")
    assert isinstance(done.exception, WebRuntimeError)
    assert f"`npm pack onnxruntime-web@{VERSION}`" in str(done.exception)
    assert f"--web-runtime onnxruntime-web-{VERSION}.tgz" in str(done.exception)
    assert not (tmp_path / "site").exists()


def tgz(members: dict[str, bytes], *, link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if link is not None:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    return buffer.getvalue()


SCRIPT_MEMBER, WASM_MEMBER = web_runtime._MEMBERS[SCRIPT], web_runtime._MEMBERS[WASM]
GOOD = {SCRIPT_MEMBER: b"script", WASM_MEMBER: b"wasm"}
Pin = Callable[[bytes], Path]


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pin:
    """Write an archive, and take its hash for that of the package."""

    def write(content: bytes) -> Path:
        path = tmp_path / "runtime.tgz"
        path.write_bytes(content)
        digest = web_runtime.base64.b64encode(hashlib.sha512(content).digest()).decode()
        monkeypatch.setattr(web_runtime, "SHA512", digest)
        return path

    return write


def test_only_the_two_files_are_read_whatever_else_is_in_the_package(pin: Pin) -> None:
    others = {"../../evil.js": b"x", "/etc/evil": b"x", "package/dist/other.js": b"x"}
    assert read_web_runtime(pin(tgz(GOOD | others))).files == {SCRIPT: b"script", WASM: b"wasm"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a tar file",
        gzip.compress(b"not a tar file"),
        tgz(GOOD)[:80],
        tgz({SCRIPT_MEMBER: b"script"}),
        tgz({SCRIPT_MEMBER: b"script"}, link=WASM_MEMBER),
        tgz(GOOD | {WASM_MEMBER: bytes(1 << 26)}),
    ],
    ids=["empty", "text", "gzip of a text", "cut", "a file missing", "a link", "a bomb"],
)
def test_a_damaged_package_is_refused(content: bytes, pin: Pin) -> None:
    with pytest.raises(WebRuntimeError, match=r"runtime\.tgz is damaged: .*npm pack"):
        read_web_runtime(pin(content))


def test_another_package_is_refused_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / f"onnxruntime-web-{VERSION}.tgz"
    path.write_bytes(tgz(GOOD))
    with pytest.raises(WebRuntimeError, match=f"is not onnxruntime-web {VERSION}: its SHA-512 is"):
        read_web_runtime(path)


def test_a_missing_or_endless_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WebRuntimeError, match=r"cannot read .*No such file"):
        read_web_runtime(tmp_path / "none.tgz")
    with pytest.raises(WebRuntimeError, match=r"cannot read .*it is a folder"):
        read_web_runtime(tmp_path)
    with (tmp_path / "large.tgz").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(WebRuntimeError, match="more than onnxruntime-web"):
        read_web_runtime(tmp_path / "large.tgz")


def test_the_flag_alone_is_refused(tmp_path: Path) -> None:
    done = earful("export", "run", "--out", tmp_path / "m.onnx", "--web-runtime", "x.tgz")
    assert "--web-runtime is for --target web" in str(done.exception)


@pytest.mark.slow
def test_the_command_writes_a_site_of_a_shipped_model(tmp_path: Path) -> None:
    package = web_runtime_package()
    done = earful(
        "export", MODEL, "--target", "web", "--out", tmp_path / "site", "--web-runtime", package
    )
    assert done.exit_code == 0, done.output
    assert re.search(r"site: 1\d\.\d MB, 10 labels", done.output)
    assert json.loads((tmp_path / "site" / "model.json").read_text())["name"] == "digits-small"
