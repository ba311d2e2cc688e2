"""Whether a run survives power cuts: what its names promise must be on the disk.

    python -m benchmarks.power_cuts [--cuts 10] [--seed 0] [--weights weights]

As benchmarks.kills, but the output folder lies on an ext4 file system of its own, in a file. At a
random moment that file system is shut down as a power cut would do it: what has been synced is
there, what the kernel had only in memory is gone. Then it is mounted again, and the run is
continued with --resume. If a run ends before its power is cut, up to three label files are removed
and it is started again, until all cuts are used. The last run is left alone.

Needs Linux, root, and mkfs.ext4. The table's columns are those of benchmarks.kills, as is the exit
status; that an image had been begun is not known, since journals need not reach the disk.
"""

import argparse
import fcntl
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.settings import WEIGHTS

from .kills import ROOT, torment

SIZE = 256  # MB of the file system
# From Linux' fs/ext4/ext4.h.
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
NO_LOG_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH: nothing more reaches the disk


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        disk = Disk(Path(name))
        try:
            output = disk.place / "out"
            return torment(output, options.cuts, options.seed, options.weights, disk.run_until_cut)
        finally:
            disk.unmount()


class Disk:
    """A file system of its own, whose power can be cut.

    Args:
        folder: for the file that holds it, and the place where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.file, self.place = folder / "disk", folder / "mounted"
        with self.file.open("wb") as file:
            file.truncate(SIZE * 2**20)
        self.place.mkdir()
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.file)], check=True)
        self.mount()

    def mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.file), str(self.place)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.place)], check=True)

    def run_until_cut(self, command: list[str], seconds: float) -> int | None:
        """Exit status of a process; None if the power was cut after some seconds."""
        process = subprocess.Popen(
            command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            place = os.open(self.place, os.O_RDONLY)
            fcntl.ioctl(place, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
            os.close(place)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            while subprocess.run(["umount", str(self.place)], capture_output=True).returncode:
                time.sleep(0.1)  # until the last of the group is gone
            self.mount()
            return None


if __name__ == "__main__":
    sys.exit(main())
