"""What a failed call of the operating system means for who runs this, and what to do about it."""

import errno
import os
from pathlib import Path

TRY_AGAIN = 3  # exit status where no image and no option is at fault
_WRONG = 2  # exit status
# What passes, or is mended on the machine, while the command stays as it is.
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE}
_REMEDIES = {
    errno.ENOSPC: "free some space, or give another folder for the output",
    errno.EDQUOT: "free some of your quota, or give another folder for the output",
    errno.ENAMETOOLONG: "shorten the name, which the output extends by _label.tiff",
    errno.EACCES: "make it accessible to user {user}, or run as a user who may (--user in Docker)",
    errno.EPERM: "make it accessible to user {user}, or run as a user who may (--user in Docker)",
    errno.EROFS: "give a folder that is not read-only",
    errno.ENOENT: "it was moved or removed meanwhile: put it back, then {again}",
    errno.ESTALE: "its file system went away meanwhile: mount it again, then {again}",
    errno.EMFILE: "allow this process more open files (ulimit -n)",
    errno.EIO: "check the disk or the connection to it, then {again}",
}


def explain(error: OSError, source: Path, target: Path) -> str:
    """A line for an image that could not be read or written.

    Args:
        error: what the system said, in the course of that image.
        source: the image.
        target: its label image.

    Returns:
        Names the image, the file at fault where that is another, the reason and the remedy.
    """
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is not None and Path(os.fsdecode(error.filename)) == source:
        return f"{source}: can't be read ({reason}); {remedy(error)}"
    named = error.filename2 or error.filename
    there = target if named is None else Path(os.fsdecode(named))
    if there.parent != target.parent or there.name.startswith("."):  # or of a scratch file
        there = target
    return f"{source}: {there} can't be written ({reason}); {remedy(error)}"


def remedy(error: OSError, again: str = "--resume") -> str:
    """What to do about what the system said; ``again`` is how to go on after that."""
    text = _REMEDIES.get(error.errno or 0, "check the file and its folder, then {again}")
    return text.format(user=os.getuid(), again=again)


def describe_failure(error: OSError, folder: Path, again: str = "--resume") -> str:
    """A line for a command that can't go on.

    Args:
        error: what the system said.
        folder: the output folder; is named in the place of hidden files in it.
        again: as of ``remedy``.
    """
    place = folder if error.filename is None else Path(os.fsdecode(error.filename))
    if place.is_relative_to(folder):
        within = place.relative_to(folder).parts
        place = folder if any(part.startswith(".") for part in within) else place
    reason = error.strerror or str(error) or type(error).__name__
    return f"{place}: can't be read or written ({reason}); {remedy(error, again)}"


def may_pass(error: OSError) -> bool:
    """Whether the same command may do well another time, as when a disk was full."""
    return error.errno in _PASSING


def exit_status(error: OSError) -> int:
    """Of a command that can't go on for what the system said."""
    return TRY_AGAIN if may_pass(error) else _WRONG
