"""Memory that this process may still take, and has taken; its container's limits count."""

import re
import resource
from pathlib import Path

from ..processor import CGROUP, PROCESS, cgroup_folders, kernel_text


def available_memory(
    cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo"), process: Path = PROCESS
) -> int:
    """Bytes that can still be taken without swapping, or being killed by the container's limit.

    Files that the kernel keeps in memory and can drop at any time count as free.

    Args:
        cgroup: as in ``cgroup_folders``, as is ``process``.
        meminfo: the kernel's table of memory.
    """
    free = re.search(r"^MemAvailable: +(\d+) kB$", kernel_text(meminfo), re.MULTILINE)
    found = [int(free[1]) * 1024] if free else []
    for folder in cgroup_folders("memory", cgroup, process):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit_text, used_text = kernel_text(folder / limit), kernel_text(folder / used)
            if limit_text.isdigit() and used_text.isdigit():
                taken = int(used_text) - _reclaimable(folder)
                found.append(max(int(limit_text) - taken, 0))
    return min(found, default=2**63)


def _reclaimable(folder: Path) -> int:
    """Bytes of files in memory of a control group and those inside it."""
    text = kernel_text(folder / "memory.stat")
    lines = dict(re.findall(r"^(?:total_)?(in)?active_file (\d+)$", text, re.MULTILINE))
    return sum(map(int, lines.values()))


def restart_peak_memory() -> None:
    """Let ``peak_memory`` count from now on, where the kernel allows it."""
    try:
        (PROCESS / "clear_refs").write_text("5")
    except OSError:
        return


def peak_memory() -> int:
    """Highest resident memory of this process, bytes, since the last restart of the count."""
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", kernel_text(PROCESS / "status"), re.MULTILINE)
    if peak:
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
