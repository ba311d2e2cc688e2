"""What runs the networks: kinds of processors, and how much of the CPU is this process' own."""

import math
import os
import re
from pathlib import Path
from typing import Literal

# What runs a graph: a CPU, one with fast instructions for 8-bit integers (VNNI), or a GPU.
Processor = Literal["cpu", "vnni", "cuda"]
CGROUP = Path("/sys/fs/cgroup")


def available_threads(cgroup: Path = CGROUP) -> int:
    """Threads that this process may really use: its CPU affinity and its container's quota.

    Args:
        cgroup: where the container's control group is mounted, version 2 or 1.
    """
    # Only Linux knows an affinity.
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    # Microseconds of CPU time, then of wall-clock time; "max" or -1 is no limit.
    text = kernel_text(cgroup / "cpu.max") or " ".join(
        kernel_text(cgroup / f"cpu/cpu.cfs_{name}_us") for name in ("quota", "period")
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
    flags = re.search(r"^flags\s*: (.*)$", kernel_text(cpuinfo), re.MULTILINE)
    return flags is not None and not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags[1].split())


def kernel_text(path: Path) -> str:
    """A small file of the kernel's; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
