"""What this process may use of the machine: threads and memory, its container's limits included."""

import math
import os
import re
import resource
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_PROCESS = Path("/proc/self")


def available_threads(cgroup: Path = _CGROUP) -> int:
    """Threads that this process may really use: its CPU affinity and its container's quota.

    Args:
        cgroup: where the container's control group is mounted, version 2 or 1.
    """
    cores = len(os.sched_getaffinity(0))
    # Microseconds of CPU time, then of wall-clock time; "max" or -1 is no limit.
    text = _read(cgroup / "cpu.max") or " ".join(
        _read(cgroup / f"cpu/cpu.cfs_{name}_us") for name in ("quota", "period")
    )
    numbers = re.fullmatch(r"(\d+) (\d+)", text)
    if numbers is None:
        return cores
    quota, period = (int(number) for number in numbers.groups())
    return max(1, min(cores, math.ceil(quota / period)))


def has_vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has fast instructions for 8-bit integers.

    Without them sums of products of such numbers may be cut off at 16 bits, and are slow.

    Args:
        cpuinfo: the kernel's description of the processors.
    """
    flags = re.search(r"^flags\s*: (.*)$", _read(cpuinfo), re.MULTILINE)
    return flags is not None and not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags[1].split())


def available_memory(cgroup: Path = _CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes that can still be taken without swapping, or being killed by the container's limit.

    Args:
        cgroup: as in ``available_threads``.
        meminfo: the kernel's table of memory.
    """
    free = re.search(r"^MemAvailable: +(\d+) kB$", _read(meminfo), re.MULTILINE)
    found = [int(free[1]) * 1024] if free else []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit_text, used_text = _read(cgroup / limit), _read(cgroup / used)
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
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", _read(_PROCESS / "status"), re.MULTILINE)
    if peak:
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
