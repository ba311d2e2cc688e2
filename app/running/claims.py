"""Who makes which label image, where several runs share an output folder.

A claim is a file whose name is that of the label image, and a number: of those who claim it at
once one makes the file, and a claim of a run that has died is followed by one of the next number.
"""

import contextlib
import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Claim:
    """An image that a run makes the label image of.

    Attributes:
        run: its name.
        image: name of the image, as in run.json.
        file: the image's ``identity``.
    """

    run: str
    image: str
    file: list[int] | None


def claim_path(folder: Path, label: str, turn: int) -> Path:
    """Where a claim is written.

    Args:
        folder: of all claims.
        label: path of the label image in the output folder.
        turn: how many runs had it before and died.
    """
    digest = hashlib.sha256(label.encode(errors="surrogateescape")).hexdigest()[:32]
    return folder / f"{digest}.{turn}"


def write_claim(path: Path, claim: Claim) -> bool:
    """Claim a label image; false where it is claimed already.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    part = path.with_name(f"{claim.run}.{threading.get_ident()}.part")
    text = json.dumps(asdict(claim))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # somebody may have cleared .runs
        part.write_text(text)
        try:
            os.link(part, path)  # so that a claim is whole from its first moment on
        except FileExistsError:
            return False
        except OSError:  # not every file system knows links
            return _write_in_place(path, text)
        return True
    finally:
        part.unlink(missing_ok=True)


def read_claim(path: Path) -> Claim | None:
    """A claim; None where there is none that is whole."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Claim(**json.loads(path.read_text()))
    return None


def _write_in_place(path: Path, text: str) -> bool:
    try:
        with path.open("x") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        return False
    return True
