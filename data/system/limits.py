"""Limits that a POSIX system sets a process; other systems have none that can be read or set."""

import contextlib
import importlib
from pathlib import Path
from typing import Any

# Of the memory that is free now: the rest stays for others.
_MEMORY_SHARE = 0.75


def raise_open_files(wanted: int) -> None:
    """Allow this process so many open files, as far as the system lets it."""
    resource = _resource()
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def max_open_files() -> int | None:
    """How many files this process may open; None if the system does not say."""
    resource = _resource()
    return None if resource is None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def has_memory_limit() -> bool:
    """Whether this process may have only so much memory, as ``ulimit -v`` sets it."""
    resource = _resource()
    return resource is not None and any(
        resource.getrlimit(kind)[0] != resource.RLIM_INFINITY
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    )


def limit_memory_to_available() -> None:
    """Refuse this process allocations that the machine cannot give, on Linux alone.

    Linux promises memory that it does not have, and then kills some process.
    """
    resource = _resource()
    if resource is None:
        return
    with contextlib.suppress(OSError, ValueError):  # not Linux, or a sandbox without /proc
        limit = min([_available_bytes(), *_container_bytes()])
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _resource() -> Any:
    """The module; None on Windows, which has none."""
    try:
        return importlib.import_module("resource")
    except ModuleNotFoundError:
        return None


def _available_bytes() -> int:
    meminfo = Path("/proc/meminfo").read_text("ascii")
    [available] = [line for line in meminfo.splitlines() if line.startswith("MemAvailable")]
    return int(_MEMORY_SHARE * 1024 * int(available.split()[1]))


def _container_bytes() -> list[int]:
    """What remains of the memory of the container; empty without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text() for name in ("memory.max", "memory.current"))
        return [int(_MEMORY_SHARE * (int(limit) - int(used)))]
    except (OSError, ValueError):
        return []
