"""What is told of an exception that the interpreter itself raised."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

resource = pytest.importorskip("resource")

DESCRIBE_LOST_ERROR = """
import resource, sys
from earful.service.core.failures import describe_failure
if sys.argv[1] == "limited":
    resource.setrlimit(resource.RLIMIT_AS, (1 << 36, resource.RLIM_INFINITY))
print(describe_failure(SystemError(sys.argv[2])))
"""
LOST = [
    "<function f> returned NULL without setting an exception",
    "error return without exception set",
]


def describe_lost_error(limit: str, lost: str, folder: Path) -> str:
    words = [sys.executable, "-c", DESCRIBE_LOST_ERROR, limit, lost]
    place = {**os.environ, "TMPDIR": str(folder)}  # of the report with the traceback
    return subprocess.run(words, capture_output=True, text=True, check=True, env=place).stdout


@pytest.mark.parametrize("lost", LOST)
def test_an_error_lost_under_a_memory_limit_is_told_as_missing_memory(
    lost: str, tmp_path: Path
) -> None:
    assert describe_lost_error("limited", lost, tmp_path).startswith("out of memory; ")


@pytest.mark.parametrize("lost", LOST)
def test_an_error_lost_without_a_limit_is_told_as_a_fault_of_ours(
    lost: str, tmp_path: Path
) -> None:
    assert "SystemError" in describe_lost_error("unlimited", lost, tmp_path)
    assert len(list(tmp_path.glob("earful-error-*.txt"))) == 1
