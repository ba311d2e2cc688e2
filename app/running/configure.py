"""What the options of the command line ask for, and how run.json tells of it."""

import argparse
import dataclasses
import socket
import time
from concurrent.futures import Future
from pathlib import Path

import cv2

from ..files.boxes import Boxes, BoxesError, read_boxes
from ..filters import Filters
from ..graphs import Graphs
from ..look import Wanted
from ..predict import Predictor
from ..request import Request
from ..settings import sha256
from ..version import provenance
from .console import say
from .journal import Record
from .plan import Job, UsageError

# Options by which the user chooses how images are shown, and which cells are kept.
_BY_HAND = ("channels", "percentiles", "levels", "diameter", "magnification")
_FEW = 5  # names in a message
_FILTERS = tuple(field.name for field in dataclasses.fields(Filters))


def load_predictor(options: argparse.Namespace, opening: Future[Graphs] | None = None) -> Predictor:
    """The networks, and how images are shown where the command line says so.

    Args:
        opening: gives the graphs, where something has begun to open them.

    Raises:
        SettingsError: the weights can't be used.
        DeviceError: the device can't be used.
    """
    # This process is all the command's own; OpenCV by itself would take every core of the machine,
    # whatever the container's quota.
    cv2.setNumThreads(options.threads)
    by_hand = {key: getattr(options, key) for key in _BY_HAND if key != "channels"}
    return Predictor(
        options.weights,
        options.device,
        options.threads,
        Wanted(**by_hand),
        options.channels,
        options.precision,
        opening.result() if opening else None,
    )


def make_request(options: argparse.Namespace) -> Request:
    """How files are read, and which cells are kept."""
    size = options.pixel_size
    filters = Filters(**{key: getattr(options, key) for key in _FILTERS})
    return Request(options.stack, filters, None if size is None else (size, size))


def given_boxes(options: argparse.Namespace, jobs: list[Job]) -> Boxes | None:
    """The boxes that the user gives, by the image's name; None where cells are to be detected.

    Raises:
        UsageError: the file can't be used, or stacks are segmented plane by plane.
    """
    if options.boxes is None:
        return None
    if options.stack == "each":
        raise UsageError("--boxes says not of which plane they are; choose one with --stack NUMBER")
    try:
        boxes = read_boxes(options.boxes, jobs[0].name if len(jobs) == 1 else None)
    except BoxesError as error:
        raise UsageError(str(error)) from error
    unknown = sorted(boxes.keys() - {job.name for job in jobs})
    without = sorted({job.name for job in jobs} - boxes.keys())
    for names, what in ((unknown, "not among the images"), (without, "without a box in it")):
        if names:
            more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
            say(f"warning: {options.boxes}: {what}: {', '.join(names[:_FEW])}{more}")
    return boxes


def describe(options: argparse.Namespace, predictor: Predictor) -> tuple[Record, Record]:
    """All that the outputs depend on beside the image; what else is to be known of a run."""
    made_by = provenance()
    filters = {key: getattr(options, key) for key in _FILTERS}
    config = {
        "version": made_by["version"],
        "commit": made_by["commit"],
        "method": dataclasses.asdict(predictor.method),
        "graphs": [dataclasses.asdict(graph) for graph in predictor.graphs],
        "stack": options.stack,
        **{key: getattr(options, key) for key in _BY_HAND},
        "pixel_size": options.pixel_size,
        **{
            key: str(value) if key.endswith("area") and value else value
            for key, value in filters.items()
        },
        "boxes": None if options.boxes is None else sha256(options.boxes),
        "results": sorted(options.results),
    }
    folder = options.input if options.input.is_dir() else options.input.parent
    about = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": socket.gethostname(),
        "input": str(Path(folder).resolve()),
        "provider": predictor.provider,
        "threads": options.threads,
        "stack": options.stack,
        "libraries": made_by["libraries"],
    }
    return config, about
