"""Reading in a process of its own, held to a time of the processor and to memory."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# What is said where there was no more: an ImageError, but the file should not have come so far.
_OUT_OF_MEMORY = ("MemoryError", "nsufficient memory", "allocate", "bad_alloc")

# Reads each file that is named on stdin. A decoder that hangs is ended by a signal whose handler
# needs nothing from Python, and like one that crashes leaves the line that called it on stderr.
# Time is the processor's: how busy the machine is besides makes no difference.
_CHILD = """
import faulthandler, json, resource, signal, sys, time
from pathlib import Path
from app.files.open import ImageError, open_image
from app.running.memory import peak_memory, restart_peak_memory
limit, memory = float(sys.argv[1]), int(sys.argv[2])
faulthandler.enable()
faulthandler.register(signal.SIGPROF, chain=True)
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
# Far more than is right: what takes too much shall be seen to, not refused by the system.
resource.setrlimit(resource.RLIMIT_AS, (taken + 4 * memory, taken + 4 * memory))
for line in sys.stdin:
    restart_peak_memory()
    started, before = time.process_time(), peak_memory()
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        with open_image(Path(line.rstrip())) as image:
            block = image[:, :]
            what, text = "image", f"{block.shape} {block.dtype}"
            if (block.shape, block.dtype) != (image.shape, image.dtype) or block.ndim != 3:
                what, text = "wrong", f"{text} is not {image.shape} {image.dtype}"
    except ImageError as error:
        what, text = "refused", str(error)
    except Exception as error:
        what, text = "raised", f"{type(error).__name__}: {error}"
    signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - started
    print(json.dumps([what, text, seconds, peak_memory() - before]), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """How reading a file ended: ``image``, ``refused``; or what must not be.

    ``raised`` another exception, ``wrong`` in what it said of itself, ``died`` of a crash or a
    hang, took too much ``memory``.
    """

    path: Path
    what: str
    text: str
    seconds: float

    @property
    def good(self) -> bool:
        return self.what in ("image", "refused")


def read_guarded(
    paths: list[Path], seconds: float, memory: int, child: str = _CHILD
) -> list[Outcome]:
    """Read files in a child process; in another one after each that ends it.

    Args:
        paths: of the files.
        seconds: of the processor, in which each must be done.
        memory: bytes that each may take beyond what the process had.
        child: the program that reads.
    """
    found: list[Outcome] = []
    command = [sys.executable, "-c", child, str(seconds), str(memory)]
    while len(found) < len(paths):
        names = "".join(f"{path}\n" for path in paths[len(found) :])
        done = subprocess.run(command, input=names, capture_output=True, text=True, check=False)
        for line, path in zip(done.stdout.splitlines(), paths[len(found) :], strict=False):
            what, text, took, more = json.loads(line)
            if more > memory or any(word in text for word in _OUT_OF_MEMORY):
                what = "memory"
            found.append(Outcome(path, what, f"{text} (took {more / 1e6:.0f} MB)", took))
        if len(found) < len(paths):
            status = done.returncode
            cause = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            ended = f"{cause}: {done.stderr[-1500:]}"
            found.append(Outcome(paths[len(found)], "died", ended, seconds))
    return found


def with_trap(event: str) -> str:
    """The program that reads, to which something happens at each file: a line of Python."""
    return _CHILD.replace("    try:\n", f"    {event}\n    try:\n", 1)
