"""Limits of control groups: the process' own, those around it, and what the kernel can drop."""

import os

import pytest

from app.processor import available_threads
from app.running.memory import available_memory


@pytest.fixture
def process(tmp_path):
    """The kernel's folder of a process two groups deep, in version 2 and in version 1."""
    (tmp_path / "proc").mkdir()
    lines = ["0::/outer/inner", "4:cpu,cpuacct:/outer/inner", "3:memory:/outer/inner"]
    (tmp_path / "proc" / "cgroup").write_text("\n".join(lines))
    return tmp_path / "proc"


def write(folder, **files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


@pytest.mark.parametrize("group", [".", "outer", "outer/inner"])
def test_the_tightest_of_nested_limits_counts(group, process, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(64)))
    for each in (".", "outer", "outer/inner"):
        tight = each == group
        write(
            tmp_path / each,
            memory__max=5000 if tight else 90000,
            memory__current=2000,
            cpu__max="300000 100000" if tight else "max 100000",
        )
    nothing = tmp_path / "none"
    assert available_memory(tmp_path, nothing, process) == 3000
    assert available_threads(tmp_path, process) == 3


def test_limits_of_version_1_lie_in_a_folder_for_each_kind(process, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(64)))
    inner = "outer/inner"
    write(tmp_path / "memory" / inner, memory__limit_in_bytes=500, memory__usage_in_bytes=200)
    write(tmp_path / "cpu" / inner, cpu__cfs_quota_us=150000, cpu__cfs_period_us=100000)
    assert available_memory(tmp_path, tmp_path / "none", process) == 300
    assert available_threads(tmp_path, process) == 2


def test_a_group_that_is_not_mounted_leaves_the_one_that_is(process, tmp_path):
    """In a container of version 1 the path may be the host's."""
    write(tmp_path / "memory", memory__limit_in_bytes=500, memory__usage_in_bytes=100)
    assert available_memory(tmp_path, tmp_path / "none", process) == 400


@pytest.mark.parametrize("prefix", ["", "total_"])
def test_files_that_the_kernel_keeps_count_as_free(prefix, process, tmp_path):
    stat = f"anon 1000\n{prefix}inactive_file 600\n{prefix}active_file 100\nunevictable 5"
    write(tmp_path / "outer", memory__max=5000, memory__current=2000, memory__stat=stat)
    assert available_memory(tmp_path, tmp_path / "none", process) == 3700
