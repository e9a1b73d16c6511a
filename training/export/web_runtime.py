"""ONNX Runtime Web, read from the package that the user has fetched.

It is not part of this project, and never fetched here: the package is named with its version and
hash, and the two files that a page needs are read from it.
"""

import base64
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from earful.data.errors import EarfulError, describe_os_error
from earful.models.bundle.regular_file import read_regular_file

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# Of the package's archive, in base64 as `npm view onnxruntime-web@1.30.0 dist.integrity` prints it.
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
# The build for WebAssembly alone, without those for graphics cards. Names in the site: not every
# host knows that a file with the suffix .mjs is JavaScript.
SCRIPT, WASM = "ort.wasm.bundle.min.js", "ort-wasm-simd-threaded.wasm"
_MEMBERS = {
    SCRIPT: "package/dist/ort.wasm.bundle.min.mjs",
    WASM: "package/dist/ort-wasm-simd-threaded.wasm",
}
_HOW_TO_GET_IT = (
    f"get it with `npm pack {PACKAGE}@{VERSION}` and give the file: "
    f"--web-runtime {PACKAGE}-{VERSION}.tgz"
)
# Twice the sizes of this version: what is read is bounded also where the hash is not at fault.
_MAX_ARCHIVE_BYTES, _MAX_MEMBER_BYTES = 1 << 26, 1 << 25


class WebRuntimeError(EarfulError):
    """The package of ONNX Runtime Web is missing, unreadable or another one."""


@dataclass(frozen=True)
class WebRuntime:
    """The files of ONNX Runtime Web that a page needs, by their names in the site."""

    files: dict[str, bytes]


def read_web_runtime(package: Path | None) -> WebRuntime:
    """Read the package's archive; None asks for it.

    Raises:
        WebRuntimeError: there is none, it cannot be read, or it is not the pinned version.
    """
    if package is None:
        raise WebRuntimeError(f"a site needs {PACKAGE} {VERSION}: {_HOW_TO_GET_IT}")
    content = _read(package)
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != SHA512:
        raise WebRuntimeError(
            f"{package} is not {PACKAGE} {VERSION}: its SHA-512 is {found[:16]}…, that of the "
            f"package {SHA512[:16]}…; {_HOW_TO_GET_IT}"
        )
    return WebRuntime(_members(content, package))


def _read(package: Path) -> bytes:
    try:
        n_bytes = package.stat().st_size
        if n_bytes > _MAX_ARCHIVE_BYTES:
            raise WebRuntimeError(
                f"{package} has {n_bytes:,} bytes, more than {PACKAGE} {VERSION}; {_HOW_TO_GET_IT}"
            )
        return read_regular_file(package)
    except OSError as error:
        raise WebRuntimeError(
            f"cannot read {package}: {describe_os_error(error)}; {_HOW_TO_GET_IT}"
        ) from error


def _members(content: bytes, package: Path) -> dict[str, bytes]:
    """The contents of the files; nothing is unpacked to the disk, so no path in it is followed."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            return {name: _member(archive, path) for name, path in _MEMBERS.items()}
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise WebRuntimeError(f"{package} is damaged: {error}; {_HOW_TO_GET_IT}") from error


def _member(archive: tarfile.TarFile, path: str) -> bytes:
    member = archive.getmember(path)
    file = archive.extractfile(member) if member.isreg() else None
    if file is None or member.size > _MAX_MEMBER_BYTES:
        raise KeyError(f"{path} is no file of at most {_MAX_MEMBER_BYTES} bytes")
    return file.read()
