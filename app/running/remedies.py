"""What a failed call of the operating system means for who runs this, and what to do about it."""

import errno
import os
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "free some space, or give another folder for the output",
    errno.EDQUOT: "free some of your quota, or give another folder for the output",
    errno.ENAMETOOLONG: "shorten the name, which the output extends by _label.tiff",
    errno.EACCES: "make it accessible to user {user}, or run as a user who may (--user in Docker)",
    errno.EPERM: "make it accessible to user {user}, or run as a user who may (--user in Docker)",
    errno.EROFS: "give a folder that is not read-only",
    errno.ENOENT: "it was moved or removed meanwhile: put it back, then --resume",
    errno.ESTALE: "its file system went away meanwhile: mount it again, then --resume",
    errno.EMFILE: "allow this process more open files (ulimit -n)",
    errno.EIO: "check the disk or the connection to it, then --resume",
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


def remedy(error: OSError) -> str:
    """What to do about what the system said."""
    text = _REMEDIES.get(error.errno or 0, "check the file and its folder, then --resume")
    return text.format(user=os.getuid())
