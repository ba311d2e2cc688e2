"""Memory that this process may still take, and has taken; its container's limits count."""

import re
import resource
from pathlib import Path

from ..processor import CGROUP, kernel_text

_PROCESS = Path("/proc/self")


def available_memory(cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes that can still be taken without swapping, or being killed by the container's limit.

    Args:
        cgroup: as in ``available_threads``.
        meminfo: the kernel's table of memory.
    """
    free = re.search(r"^MemAvailable: +(\d+) kB$", kernel_text(meminfo), re.MULTILINE)
    found = [int(free[1]) * 1024] if free else []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit_text, used_text = kernel_text(cgroup / limit), kernel_text(cgroup / used)
        if limit_text.isdigit() and used_text.isdigit():
            found.append(max(int(limit_text) - int(used_text), 0))
    return min(found, default=2**63)


def restart_peak_memory() -> None:
    """Let ``peak_memory`` count from now on, where the kernel allows it."""
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return


def peak_memory() -> int:
    """Highest resident memory of this process, bytes, since the last restart of the count."""
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", kernel_text(_PROCESS / "status"), re.MULTILINE)
    if peak:
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
