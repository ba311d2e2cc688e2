"""Processes, each told apart from all that ever had its number, on this machine or another."""

import socket
from functools import cache
from pathlib import Path

_PROC = Path("/proc")  # Linux has one; elsewhere no process is known


@cache
def machine() -> str:
    """This machine since it was started; in a container another one, for numbers mean others."""
    boot = _text(_PROC / "sys/kernel/random/boot_id") or socket.gethostname()
    return f"{boot} {_inode(_PROC / 'self/ns/pid')}"


def started(process: object) -> str | None:
    """When a process of this machine was started, as the kernel counts; None if it has ended."""
    fields = _text(_PROC / str(process) / "stat").rpartition(")")[2].split()
    return fields[19] if fields and fields[0] not in "ZX" else None


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _text(path: Path) -> str:
    """A file of the kernel's; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
