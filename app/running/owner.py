"""In the image: work as the owner of the output folder, so that the files are the owner's.

Docker puts root into the group that the Dockerfile makes for this, unless the caller has chosen a
user and a group (--user). Any other root, such as that of sudo in a checkout, stays root.
"""

import ctypes
import os
import tempfile
from contextlib import suppress
from pathlib import Path

GROUP = "output-owner"
_CHOOSE = 'docker run --user "$(id -u):$(id -g)"'
# From Linux' <sys/prctl.h>.
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


class AccessError(PermissionError):
    """The user that this process works as can't read or write what it has to; says what to do."""


def work_as_owner(source: Path, folder: Path) -> None:
    """Become the owner of the output folder, where the image has started as root for that.

    A root who lacks the rights to change user stays root.

    Args:
        source: what will be read.
        folder: what will be written to; where it is missing, the nearest one above it counts.

    Raises:
        AccessError: the owner can't read the source; or this process may not become the owner, and
            can't read the source or write to the folder.
    """
    if not _is_asked():
        return
    place = folder.absolute()
    while not os.access(place, os.F_OK):
        place = place.parent
    owner = place.stat()
    is_owner = owner.st_uid == os.geteuid() or _become(owner.st_uid, owner.st_gid)
    user = f"user {os.geteuid()}"
    if not is_owner and not _is_writable(place):
        raise AccessError(
            f"{place}: {user} can't write to this folder of user {owner.st_uid}, and may not "
            f"become that user; use {_CHOOSE}, or --cap-add SETUID --cap-add SETGID"
        )
    if not _is_readable(source):
        who = f"{user}, the owner of {place}," if is_owner else user
        raise AccessError(
            f"{source}: {who} can't read this; make it readable, or run as a user who can, and "
            f"who can write to {folder}: {_CHOOSE}"
        )


def _is_asked() -> bool:
    """Whether this is the image, started as root, and its caller chose no user."""
    if os.geteuid():
        return False
    import grp  # only POSIX has it

    try:
        return grp.getgrnam(GROUP).gr_gid in os.getgroups()
    except KeyError:
        return False


def _become(user: int, group: int) -> bool:
    """Change from root to a user, for good; false, and still root, where this is not allowed.

    Of the supplementary groups those stay that the caller has added (--group-add).
    """
    import grp

    roots, groups = {0, grp.getgrnam(GROUP).gr_gid}, os.getgroups()
    try:
        os.setgroups([each for each in groups if each not in roots])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError:
        with suppress(OSError):  # what could be changed can be changed back
            os.setresgid(0, 0, 0)
            os.setgroups(groups)
        return False
    # The capabilities went with root; without this a set-uid program could regain them.
    _set(_PR_SET_NO_NEW_PRIVS)
    # The kernel has closed /proc/self to its new user, but the peak of memory is read there.
    _set(_PR_SET_DUMPABLE)
    os.environ["HOME"] = "/"  # as Docker sets it for a user whom the image doesn't know
    return True


def _set(attribute: int) -> None:
    """Switch on an attribute of this process."""
    on, unused = ctypes.c_ulong(1), ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(attribute, on, unused, unused, unused)


def _is_writable(folder: Path) -> bool:
    """Whether permissions allow to write; whatever else may be in the way is told later."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except PermissionError:
        return False
    except OSError:
        return True


def _is_readable(source: Path) -> bool:
    """Whether permissions allow to read a file, or any in a folder; an empty folder is told later.

    One that can't be read among others costs only itself.
    """
    try:
        with os.scandir(source) as entries:
            paths = [entry.path for entry in entries]
    except NotADirectoryError:
        paths = [os.fspath(source)]
    except PermissionError:
        return False
    except OSError:
        return True
    return not paths or any(os.access(path, os.R_OK) for path in paths)
