"""The list of all images, by which shards agree on who does what."""

import contextlib
import errno
import heapq
import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..files.atomic import atomic_write
from .journal import Record
from .plan import UsageError
from .shard_number import SHARDS_FOLDER

_LIST = "list.json"
_DELAY = 60.0  # seconds in which a network file system shows what another machine has made
_PATIENCE = 0.5  # seconds from look to look


@dataclass(frozen=True)
class Listed:
    """An image of the list.

    Attributes:
        name: as of ``Job``, as is ``label``.
        file: its ``identity``; the bytes tell how long it takes.
        problem: why it can't be segmented, or "".
        parts: names of the other files that it lies in, which are beside it.
    """

    name: str
    label: str
    file: list[int] | None
    problem: str = ""
    parts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ImageList:
    """What all shards of an output folder agree in.

    Attributes:
        count: of shards.
        input: the image or the folder of the images, as the first task was given it.
        recursive: whether those in the folders in it belong to them.
        weights: SHA-256 of their settings, which hold that of each graph.
        config: as ``configure.describe`` gives it. Its graphs are those of the first task's
            processor, and may be others elsewhere.
        images: by name, as a run does them.
        unreadable: files and folders that may hold more images, and why they can't be read.
    """

    count: int
    input: str
    recursive: bool
    weights: str
    config: Record
    images: list[Listed]
    unreadable: dict[str, str]


def read_list(output: Path) -> ImageList | None:
    """The list of an output folder; None where there is none.

    Raises:
        UsageError: it is damaged.
        OSError: it can't be read.
    """
    path = output / SHARDS_FOLDER / _LIST
    try:
        whole = json.loads(path.read_text())
        images = [Listed(**image) for image in whole.pop("images")]
        return ImageList(**whole, images=images)
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path}: is not what a shard has written; remove {path.parent} and run all shards "
            "again with --resume"
        ) from error


def write_list(output: Path, listed: ImageList, run: str) -> None:
    """Write the list in one step, where no other task was faster.

    A folder takes the place of an empty one or of none: so one task wins, also where the file
    system has neither locks nor links.
    """
    part = output / f"{SHARDS_FOLDER}-{run}"
    part.mkdir()
    try:
        with atomic_write(part / _LIST) as file:
            file.write_text(json.dumps(asdict(listed)) + "\n")
        with contextlib.suppress(FileExistsError):
            part.rename(output / SHARDS_FOLDER)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def await_list(output: Path) -> ImageList:
    """The list, once another machine's is seen here.

    Raises:
        OSError: it is not seen.
    """
    end = time.monotonic() + _DELAY
    while True:
        if listed := read_list(output):
            return listed
        if time.monotonic() > end:
            path = output / SHARDS_FOLDER / _LIST
            raise FileNotFoundError(errno.ENOENT, "the list is gone", str(path))
        time.sleep(_PATIENCE)


def divide(images: list[Listed], count: int) -> list[list[Listed]]:
    """The images of each shard, by name, so that the shards take about as long.

    The largest first, each to the shard that has the fewest bytes so far: the same list is always
    divided in the same way. If there are more shards than images, the last ones have none, and are
    left out.
    """
    parts: list[list[Listed]] = [[] for _ in range(min(count, len(images)))]
    loads = [(0, 0, index) for index in range(len(parts))]  # bytes, images
    for image in sorted(images, key=lambda image: (-_size(image), image.name)):
        size, number, index = loads[0]
        heapq.heapreplace(loads, (size + _size(image), number + 1, index))
        parts[index].append(image)
    return [sorted(part, key=lambda image: image.name) for part in parts]


def remove_shards(output: Path, run: str) -> None:
    """Remove the list and all that shards have recorded: at once, so that none sees half of it."""
    away = output / f"{SHARDS_FOLDER}-{run}"
    (output / SHARDS_FOLDER).rename(away)
    for folder in [away, *output.glob(f"{SHARDS_FOLDER}-*")]:  # also what killed tasks have left
        shutil.rmtree(folder, ignore_errors=True)


def _size(image: Listed) -> int:
    """Bytes of all its files; the identity of each is three numbers."""
    return sum(image.file[::3]) if image.file else 0
