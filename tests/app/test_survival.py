"""What ends an image, or the whole process, costs no other image.

Everything that ends processes is in tests/system/test_kills.py; here is the shortest of it.
"""

import errno
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from app.running.memory import available_memory
from app.running.supervise import supervise
from app.session import Network
from tests.app.command_line import labels, report, run_in, write
from tests.app.crashing import errors_of, start, wait_for
from tests.app.make_toy_graphs import RESOURCES


def test_a_crash_of_the_process_costs_one_image(three):
    process = start(three, "os.kill(os.getpid(), signal.SIGSEGV)")
    errors = errors_of(process)
    assert process.returncode == 1
    assert sorted(labels(three)) == ["a_label.tiff", "c_label.tiff"]
    assert "error: b.png: ended the process (SIGSEGV" in errors
    whole, images = report(three)
    assert (whole["done"], whole["failed"]) == (2, 1)
    assert "SIGSEGV" in images["b.png"]["error"]


def test_an_interrupt_that_a_library_swallows_while_it_is_loaded_ends_the_run(capfd):
    def load(_restarted):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ImportError("numpy could not be loaded") from error
        return 0

    assert supervise(load, lambda _cause: False) == 130
    assert "Traceback" not in capfd.readouterr().err


def test_what_ends_the_work_in_another_way_is_told_line_by_line(capfd):
    def fail(_restarted):
        raise ZeroDivisionError("of what?")

    assert supervise(fail, lambda _cause: False) == 3
    told = capfd.readouterr().err.splitlines()
    assert told[0].startswith("Traceback") and told[-1] == "ZeroDivisionError: of what?"


class Endless:
    """A session that sends a signal, and whose graph ends when it is told to, and not before."""

    told = False

    def get_inputs(self):
        return [SimpleNamespace(name="images")]

    def run(self, _outputs, _inputs, options):
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(lambda: options.terminate)
        self.told = True


def test_a_signal_does_not_wait_for_the_graph():
    session = Endless()
    # A shell that starts the tests in the background lets them ignore it.
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Network(session)(np.zeros((1, 32, 32, 3), np.uint8))
    finally:
        signal.signal(signal.SIGINT, earlier)
    wait_for(lambda: session.told)


def test_a_full_disk_costs_an_image_and_no_other(three, capsys, monkeypatch):
    real = tifffile.imwrite

    def full(path, *rest, **more):
        if "b_label" in path.name:
            Path(path).write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        real(path, *rest, **more)

    monkeypatch.setattr(tifffile, "imwrite", full)
    assert run_in(three) == 3
    assert "b_label.tiff can't be written (No space left" in capsys.readouterr().err
    assert sorted(labels(three)) == ["a_label.tiff", "c_label.tiff"]
    assert not list((three / "out").glob(".*"))


def test_memory_is_kept_to_or_refused_with_the_figure(three, capsys):
    working = RESOURCES.working_memory
    assert run_in(three, "--max-memory", working / 1e9 / 2) == 2
    assert "--max-memory 100MB: over 200MB are needed" in capsys.readouterr().err
    large = np.full((1500, 2000, 3), 9, np.uint8)
    write(three / "in" / "large.png", large)
    tifffile.imwrite(three / "in" / "large2.tif", large, photometric="rgb")
    assert run_in(three, "--max-memory", (working + 8e6) / 1e9) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert "large.png: would take 9 MB" in errors[0] and "8 MB are left" in errors[0]


def test_running_out_of_memory_costs_one_image(three, capsys, strike):
    strike("b.png", MemoryError())
    assert run_in(three) == 1
    assert "b.png: not enough memory" in capsys.readouterr().err
    assert len(labels(three)) == 2


def test_available_memory_respects_the_containers_limit(tmp_path):
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:       9 kB\nMemAvailable:    4000 kB\n")
    assert available_memory(tmp_path, table) == 4000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_memory(tmp_path, table) == 4000 * 1024
    (tmp_path / "memory.max").write_text("51000\n")
    assert available_memory(tmp_path, table) == 50000
    assert available_memory(tmp_path / "none", tmp_path / "none") > 2**60


def test_a_folder_that_takes_no_claims_costs_images_not_the_run(three, capsys, monkeypatch):
    def full(_self, _name):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("app.running.sharing.Share.take", full)
    assert run_in(three) == 3
    told = capsys.readouterr().err
    assert told.count("(No space left on device); free some space") == 3
    assert report(three)[0]["failed"] == 3
