"""A run of the command line: all images done, whatever is wrong with some, and told."""

import argparse
import dataclasses
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import cv2

from ..look import Wanted
from ..predict import Predictor
from ..session import DeviceError
from ..settings import SettingsError
from ..version import provenance
from .console import progress, say
from .journal import FAILED, SETTLED, STARTED, Record, new_run
from .loop import do_all, find_small, segment_one
from .plan import UsageError, find_settled, image_memory, list_images, plan_outputs
from .records import messages
from .remedies import explain
from .sharing import Share

# Options by which the user chooses how images are shown.
_BY_HAND = ("channels", "percentiles", "levels", "diameter", "magnification")
_PATIENCE = 0.5  # seconds from one look at what other runs have done to the next


def run(
    options: argparse.Namespace,
    name: str | None = None,
    process: int | None = None,
    *,
    restarted: bool = False,
) -> int:
    """Segment the images that the command line names; returns the exit status.

    Args:
        options: as ``app.running.options.parse`` gives them.
        name: of this run, as ``new_run`` makes one.
        process: number of the process that stands for the run; by default this one.
        restarted: an earlier process of this very run has crashed; what it settled stays so.
    """
    try:
        images, passed_over = list_images(options.input)
        targets, clashes = plan_outputs(images, options.output)
        predictor = load_predictor(options)
        max_bytes = image_memory(options.max_memory, predictor.resources.working_memory)
        config, about = describe(options, predictor)
        config_hash = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        name, process = name or new_run(), process or os.getpid()
        begins = (options.resume, restarted)
        share = Share(options.output, name, process, config_hash, about, *begins)
    except (UsageError, SettingsError, DeviceError) as error:
        say(f"error: {error}")
        return 2
    except OSError as error:
        say(f"error: {options.output}: can't be written to ({error.strerror})")
        return 2
    for line in passed_over:
        say(line)
    earlier = share.earlier if options.resume else {}
    settled = find_settled(targets, earlier, share.records(), config_hash)
    graphs = ", ".join(graph.file for graph in predictor.graphs)
    kept = f" ({len(settled)} are settled already)" if settled else ""
    where = f"{predictor.provider} ({graphs}), {options.threads} CPU threads"
    if predictor.without_cuda:
        say(f"warning: {predictor.without_cuda}; the CPU does the work")
    say(f"segmenting {len(targets)} images on {where}{kept}")
    for record in settled.values():
        share.journal.append(record)
    for source, problem in clashes.items():
        share.journal.append({"image": source.name, "status": FAILED, "error": problem})
        say(f"error: {problem}")
    waiting = [source for source in targets if source.name not in settled]
    # Beside the memory that one image takes at work, each other one needs as much.
    others = max_bytes // predictor.resources.working_memory if predictor.on_cpu else 0
    at_once = 1 if restarted else max(1, min(options.threads, 1 + others, len(waiting)))
    small: set[Path] = set()
    if at_once > 1:
        small = find_small(waiting, options.stack, predictor.method.window**2)

    def work(source: Path) -> Record | None:
        """The record of an image; None where another run has claimed it."""
        try:
            if not share.take(source.name):
                return None
        except OSError as error:  # the disk is full, or was taken away
            problem = explain(error, source, targets[source])
            record = {"image": source.name, "status": FAILED, "error": problem}
            share.journal.append(record)
            return record
        share.journal.append({"image": source.name, "status": STARTED})
        record = segment_one(predictor, source, targets[source], options.stack, max_bytes)
        record["config"] = config_hash
        share.journal.append(record)
        return record

    status = 0
    try:
        with progress(len(targets), len(settled)) as bar:
            mine = do_all(work, waiting, small, at_once)
            for record in chain(mine, await_others(work, waiting, share)):
                bar.advance()
                for line in messages(record):
                    say(line)
    except KeyboardInterrupt:
        say("interrupted; what is done is kept, --resume goes on from it")
        status = 130
    finally:
        records = share.records()
        try:
            share.leave(config)
        except OSError as error:
            say(f"error: {options.output}: run.json can't be written ({error.strerror})")
            status = status or 1
    sources = [*targets, *clashes]
    failed = sum(records.get(s.name, {}).get("status") == FAILED for s in sources)
    if failed and status != 130:
        say(f"{failed} of {len(sources)} images failed, named above")
    return status or int(failed > 0)


def load_predictor(options: argparse.Namespace) -> Predictor:
    """The networks, and how images are shown where the command line says so.

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
    )


def describe(options: argparse.Namespace, predictor: Predictor) -> tuple[Record, Record]:
    """All that a label image depends on beside the image; what else is to be known of a run."""
    made_by = provenance()
    config = {
        "version": made_by["version"],
        "commit": made_by["commit"],
        "method": dataclasses.asdict(predictor.method),
        "graphs": [dataclasses.asdict(graph) for graph in predictor.graphs],
        "stack": options.stack,
        **{key: getattr(options, key) for key in _BY_HAND},
    }
    about = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "host": socket.gethostname(),
        "provider": predictor.provider,
        "threads": options.threads,
        "libraries": made_by["libraries"],
    }
    return config, about


def await_others(
    work: Callable[[Path], Record | None], images: Sequence[Path], share: Share
) -> Iterator[Record]:
    """Wait for the images that other runs have claimed, and take on those of runs that died.

    Yields:
        The record of each of them, as it is settled.
    """
    own = share.journal.records
    left = [image for image in images if own.get(image.name, {}).get("status") not in SETTLED]
    while left:
        records = share.records()
        waiting = []
        for image in left:
            record = records.get(image.name, {})
            if record.get("status") not in SETTLED:
                made = work(image)
                if made is None:
                    waiting.append(image)
                    continue
                record = made
            yield record
        left = waiting
        if left:
            time.sleep(_PATIENCE)
