"""Licences of all dependencies: nothing unknown, nothing in a serving install that binds its user.

The licence of a package is what its metadata says: the SPDX expression, the field or the
classifiers. What says nothing of use stands in ``STATED_ELSEWHERE``, with where it is stated.
"""

import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Notices and the text of the licence must travel with a copy; nothing else is asked.
PERMISSIVE = re.compile(
    r"\b(MIT|MIT-0|MIT-CMU|(3-clause )?BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|"
    r"ZPL|Zlib|CC0|DFSG approved)\b",
    re.IGNORECASE,
)
# Changes to the package itself stay under its licence; code that uses it does not.
WEAK_COPYLEFT = re.compile(r"\b(MPL|Mozilla Public License|LGPL)\b", re.IGNORECASE)
# Only with CUDA: NVIDIA's libraries may be passed on with a program, not on their own.
PROPRIETARY = re.compile(r"NVIDIA.Proprietary|Other/Proprietary License", re.IGNORECASE)
STATED_ELSEWHERE = {
    "cuda-toolkit": "PROPRIETARY: it has no files, and asks for the nvidia-* packages",
    "espeakng-loader": "GPL: it carries eSpeak NG (GPL-3.0), loaded by `earful synth` alone",
    "huey": "MIT: LICENSE of its repository",
    "skops": "MIT: LICENSE of its repository",
}
# Packages that are more than permissive, by what asks for them.
WEAK = {
    "certifi": "MPL-2.0: the extras train and remote, to download over TLS",
    "hypothesis": "MPL-2.0: tests",
    "orjson": "MPL-2.0 and MIT or Apache-2.0: responses and log lines of the service",
    "pathspec": "MPL-2.0: tests",
    "psycopg": "LGPL-3.0: the extra postgres",
    "psycopg-binary": "LGPL-3.0: the extra postgres",
    "soxr": "LGPL-2.1: resampling, used as the library it is",
    "tqdm": "MPL-2.0 and MIT: the extras tune and cluster",
}


def licence(name: str) -> str:
    """What a package says of its licence, in a line."""
    metadata = importlib.metadata.metadata(name)
    expression = metadata.get("License-Expression") or ""
    field = (metadata.get("License") or "").strip().partition("\n")[0][:80]
    classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License")]
    named = [c.rpartition(" :: ")[2] for c in classifiers if not c.endswith("OSI Approved")]
    return " / ".join(filter(None, [expression, field, *named]))


def family(name: str) -> str:
    text = STATED_ELSEWHERE.get(name.lower()) or licence(name)
    if "GPL" in text and "LGPL" not in text:
        return "GPL"
    if text.startswith("PROPRIETARY") or PROPRIETARY.search(text):
        return "PROPRIETARY"
    if WEAK_COPYLEFT.search(text):
        return "WEAK"
    return "PERMISSIVE" if PERMISSIVE.search(text) else f"UNKNOWN: {text!r}"


def installed() -> list[str]:
    names = {dist.name for dist in importlib.metadata.distributions()} - {"earful"}
    return sorted(names, key=str.lower)


def locked(*flags: str) -> set[str]:
    """Names of the packages that uv installs with some flags, as the lock file has them."""
    done = subprocess.run(
        ["uv", "export", "--locked", "--no-hashes", "--no-emit-project", "--no-header", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line for line in done.stdout.splitlines() if line and line[0] not in " #")
    return {re.split(r"[=<>;\[ ]", line)[0].lower() for line in lines}


def test_every_licence_is_known() -> None:
    families = {name: family(name) for name in installed()}
    assert {n: f for n, f in families.items() if f.startswith("UNKNOWN")} == {}
    weak = {name.lower() for name, kind in families.items() if kind == "WEAK"}
    assert weak <= set(WEAK), f"not in the list with their reason: {weak - set(WEAK)}"
    assert [name for name, kind in families.items() if kind == "GPL"] == ["espeakng-loader"]
    proprietary = {name for name, kind in families.items() if kind == "PROPRIETARY"}
    assert all(name.startswith(("nvidia-", "cuda-")) for name in proprietary), proprietary


@pytest.mark.parametrize("flags", [(), ("--extra", "postgres", "--extra", "media")])
def test_what_serves_binds_nobody(flags: tuple[str, ...]) -> None:
    """The base install, and what the image adds: no GPL, nothing proprietary."""
    present = {name.lower().replace("_", "-"): name for name in installed()}
    names = locked("--no-default-groups", *flags)
    assert {"fastapi", "soundfile", "numpy"} <= names
    kinds = {name: family(present[name]) for name in names if name in present}
    assert len(kinds) > len(names) - 5, "most are installed here"
    assert {name for name, kind in kinds.items() if kind not in ("PERMISSIVE", "WEAK")} == set()


def test_the_bill_of_materials_is_one_command(tmp_path: Path) -> None:
    """As service/deploy/SECURITY.md has it: CycloneDX, with every package of the lock file."""
    page = (ROOT / "service" / "deploy" / "SECURITY.md").read_text("utf-8")
    [line] = [text for text in page.splitlines() if "cyclonedx" in text]
    done = subprocess.run(
        line.partition(" > ")[0].split(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in locked("--no-default-groups", "--extra", "postgres", "--extra", "media"):
        assert f'"name": "{name}"' in done.stdout.lower()
