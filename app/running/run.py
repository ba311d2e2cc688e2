"""A run of the command line: all images done, whatever is wrong with some, and told."""

import argparse
import dataclasses
import hashlib
import json
import sys
from pathlib import Path

from tqdm import tqdm

from ..look import Wanted
from ..predict import Predictor
from ..session import DeviceError
from ..settings import SettingsError
from .journal import FAILED, STARTED, Journal, Record
from .loop import do_all, find_small, segment_one
from .plan import UsageError, find_settled, image_memory, list_images, plan_outputs
from .records import messages

# Options by which the user chooses how images are shown.
_BY_HAND = ("channels", "percentiles", "levels", "diameter", "magnification")


def run(options: argparse.Namespace, *, restarted: bool = False) -> int:
    """Segment the images that the command line names; returns the exit status.

    Args:
        options: as ``app.__main__.parse`` gives them.
        restarted: an earlier process of this very run has crashed; what it settled stays so.
    """
    by_hand = {name: getattr(options, name) for name in _BY_HAND}
    try:
        targets = plan_outputs(list_images(options.input), options.output)
        wanted = Wanted(**{name: by_hand[name] for name in _BY_HAND if name != "channels"})
        predictor = Predictor(
            options.weights, options.device, options.threads, wanted, options.channels
        )
        max_bytes = image_memory(options.max_memory, predictor.resources.working_memory)
    except (UsageError, SettingsError, DeviceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    config = {
        "method": dataclasses.asdict(predictor.method),
        "graphs": [dataclasses.asdict(graph) for graph in predictor.graphs],
        "stack": options.stack,
        **by_hand,
    }
    config_hash = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    settled = find_settled(targets, config_hash, resume=options.resume, restarted=restarted)
    try:
        journal = Journal(options.output, settled.values())
    except OSError as error:
        print(f"error: {options.output}: can't be written to ({error.strerror})", file=sys.stderr)
        return 2
    graphs = ", ".join(graph.file for graph in predictor.graphs)
    where = f"{predictor.provider} ({graphs}), {options.threads} CPU threads"
    kept = f" ({len(settled)} are settled already)" if settled else ""
    print(f"segmenting {len(targets)} images on {where}{kept}", file=sys.stderr)
    waiting = [source for source in targets if source.name not in settled]
    # Beside the memory that one image takes at work, each other one needs as much.
    others = max_bytes // predictor.resources.working_memory if predictor.on_cpu else 0
    at_once = 1 if restarted else max(1, min(options.threads, 1 + others, len(waiting)))
    together: set[Path] = set()
    if at_once > 1:
        together = find_small(waiting, options.stack, predictor.method.window**2)

    def work(source: Path) -> Record:
        journal.append({"image": source.name, "status": STARTED})
        record = segment_one(predictor, source, targets[source], options.stack, max_bytes)
        record["config"] = config_hash
        journal.append(record)
        return record

    try:
        with tqdm(total=len(targets), initial=len(settled), unit="image", disable=None) as bar:
            for record in do_all(work, waiting, together, at_once):
                bar.update()
                for line in messages(record):
                    bar.write(line, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; what is done is kept, --resume goes on from it", file=sys.stderr)
        return 130
    finally:
        try:
            journal.close({**config, "provider": predictor.provider, "threads": options.threads})
        except OSError as error:
            print(f"error: run.json can't be written ({error.strerror})", file=sys.stderr)
    failed = sum(record["status"] == FAILED for record in journal.records.values())
    if failed:
        print(f"{failed} of {len(targets)} images failed, named above", file=sys.stderr)
    return int(failed > 0)
