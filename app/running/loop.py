"""Many images, small ones several at once, each of which fails for itself."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from pathlib import Path

from ..files.arrays import ImageError, size_text
from ..files.open import claimed_pixels
from ..log import warnings_collected
from ..predict import Predictor
from ..settings import sha256
from .journal import DONE, FAILED, Record, identity
from .memory import peak_memory, restart_peak_memory
from .records import outcome_record
from .remedies import explain

_PATIENCE = 0.5  # seconds for images at work when the run is interrupted


def find_small(images: list[Path], stack: str, max_pixels: int) -> set[Path]:
    """The images of which one does not keep all cores busy: those that a window could hold."""
    with warnings_collected():  # which are told when the image's turn has come
        return {image for image in images if claimed_pixels(image, stack) <= max_pixels}


def do_all(
    work: Callable[[Path], Record | None], images: list[Path], small: set[Path], at_once: int
) -> Iterator[Record]:
    """Work on all images: the small ones first, several at once, then each of the others alone.

    Yields:
        What the work returns, as it ends, unless that is None.
    """
    pool = ThreadPoolExecutor(at_once)
    futures = [pool.submit(work, image) for image in images if image in small]
    try:
        for future in as_completed(futures):
            if (record := future.result()) is not None:
                yield record
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # After an interrupt what is at work is waited for, since that is small, but not for ever.
        wait([future for future in futures if not future.cancelled()], _PATIENCE)
    for image in images:
        if image not in small:
            restart_peak_memory()
            if (record := work(image)) is not None:
                yield record


def segment_one(
    predictor: Predictor, source: Path, target: Path, stack: str, max_bytes: int
) -> Record:
    """Segment one image, whatever is wrong with it; returns its record.

    The peak of memory in it is the process', so others at work at the same time count, too.
    """
    record: Record = {"image": source.name, "status": FAILED}
    with warnings_collected() as warnings:
        try:
            record |= outcome_record(predictor.predict_file(source, target, stack, max_bytes))
            record |= {"file": identity(source), "label": target.name}
            record |= {"label_sha256": sha256(target), "status": DONE}
        except ImageError as error:
            record["error"] = str(error)
        except MemoryError as error:
            reason = str(error) or f"{size_text(peak_memory())} in use"
            record["error"] = (
                f"{source}: not enough memory ({reason}); give more (--max-memory), save the "
                "image as a tiled TIFF, which is read in parts, or cut it into several"
            )
        except OSError as error:
            record["error"] = explain(error, source, target)
        # One image, whatever is wrong with it, must not cost the others.
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            record["error"] = f"{source}: {problem}; please report this image"
    return {**record, "peak_memory": peak_memory(), "warnings": warnings}
