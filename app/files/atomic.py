"""Files that are either whole or what they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def scratch_path(path: Path, use: str) -> Path:
    """A hidden file beside another one; a run that was killed leaves it, the next overwrites it."""
    return path.with_name(f".{path.name}.{use}")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Where to write a file that takes its name at the end of the ``with`` block, if all is well.

    So no reader sees half a file, and neither an error nor a killed process costs the earlier one.

    Args:
        path: of the result; an existing file is replaced.

    Yields:
        A path in the same folder.

    Raises:
        OSError: the file can't be renamed.
    """
    part = scratch_path(path, "part")
    try:
        yield part
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
