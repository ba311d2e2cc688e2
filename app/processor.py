"""What runs the networks: kinds of processors, and how much of the CPU is this process' own."""

import math
import os
import re
from pathlib import Path
from typing import Literal

# What runs a graph: a CPU, one with fast instructions for 8-bit integers (VNNI), or a GPU.
Processor = Literal["cpu", "vnni", "cuda"]
CGROUP = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")


def available_threads(cgroup: Path = CGROUP, process: Path = PROCESS) -> int:
    """Threads that this process may really use: its CPU affinity and its container's quota.

    Args:
        cgroup: as in ``cgroup_folders``, as is ``process``.
    """
    # Only Linux knows an affinity.
    affinity = getattr(os, "sched_getaffinity", None)
    threads = len(affinity(0)) if affinity else os.cpu_count() or 1
    for folder in cgroup_folders("cpu", cgroup, process):
        # Microseconds of CPU time, then of wall-clock time; "max" or -1 is no limit.
        text = kernel_text(folder / "cpu.max") or " ".join(
            kernel_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")
        )
        if numbers := re.fullmatch(r"(\d+) (\d+)", text):
            threads = min(threads, math.ceil(int(numbers[1]) / int(numbers[2])))
    return max(1, threads)


def cgroup_folders(controller: str, cgroup: Path, process: Path) -> list[Path]:
    """The control groups that a process lies in, the innermost first, each with limits of its own.

    Args:
        controller: "cpu" or "memory".
        cgroup: where control groups are mounted, of version 2 or 1.
        process: the kernel's folder of the process.
    """
    folders = []
    for line in kernel_text(process / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # In a container the path may be the host's, and what is mounted its own group.
        top = cgroup / controller if controllers else cgroup
        inner = top / path.lstrip("/")
        folders += [f for f in (inner, *inner.parents) if f.is_relative_to(top)]
    return folders


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
