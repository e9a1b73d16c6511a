"""Processes: how many cores this one may use, whether another one lives, whose it is."""

import getpass
import os
from pathlib import Path

import psutil


def n_usable_cores() -> int:
    """Cores that this process may use: those of its affinity mask where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_alive(pid: int) -> bool:
    """Whether a process of this number exists; a signal of 0 would end it on Windows."""
    return psutil.pid_exists(pid)


def user_name() -> str:
    """The name of the user; the number of one without a name, as in many containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # Windows without a variable has no module pwd
        return user_id()


def user_id() -> str:
    """The number of the user; on Windows, which has none, the name of the account."""
    return str(os.getuid()) if hasattr(os, "getuid") else Path.home().name


def is_own_folder(status: os.stat_result) -> bool:
    """Whether no other user can write to a folder of this status.

    On Windows the temporary folder is the user's own, and modes say nothing.
    """
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & 0o022
