"""A run of the command line: all images done, whatever is wrong with some, and told."""

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from itertools import chain

from ..files.folder import Listing, describe_passed
from ..files.labels import REPORT_FILE
from ..predict import Predictor
from ..session import DeviceError
from ..settings import SettingsError
from .configure import describe, given_boxes, load_predictor, make_request
from .console import counted, progress, say
from .journal import FAILED, RUN_FILE, Record, is_broken
from .loop import await_others, do_all, plan_together
from .plan import (
    Job,
    UsageError,
    find_settled,
    image_memory,
    of_other_images,
)
from .records import messages
from .remedies import describe_failure, exit_status, remedy
from .report import make_report
from .shard_number import name_run, records_folder
from .shards import about_shard, earlier_records, find_images, take_part
from .sharing import Share
from .supervise import interrupts_ignored
from .tally import Tally
from .work import Worker

Load = Callable[[argparse.Namespace], Predictor]
Do = Callable[[Worker, list[Job]], Iterator[Record]]


def run(
    options: argparse.Namespace,
    name: str | None = None,
    process: int | None = None,
    *,
    restarted: bool = False,
    load: Load = load_predictor,
    make_worker: type[Worker] = Worker,
    do: Do | None = None,
) -> int:
    """Segment the images that the command line names; returns the exit status.

    Args:
        options: as ``app.running.options.parse`` gives them.
        name: of this run, as ``name_run`` makes one.
        process: number of the process that stands for the run; by default this one.
        restarted: an earlier process of this very run has crashed; what it settled stays so.
        load: makes what segments an image.
        make_worker: makes what does each image by that, and records it.
        do: all images by that; by default here, small ones several at once.
    """
    try:
        found = find_images(options)
        boxes = given_boxes(options, found.jobs)
        predictor = load(options)
        max_bytes = image_memory(options.max_memory, predictor.resources.working_memory)
        config, about = describe(options, predictor)
        config_hash = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        name, process = name or name_run(options.shard), process or os.getpid()
        begins = (options.resume, restarted)
        folder, agreed = records_folder(options.output, options.shard), config_hash
        if options.shard:
            found = take_part(options, found, config, name)
            agreed = "as the list of images says"
            about |= about_shard(options, config)
        share = Share(folder, name, process, agreed, about, *begins)
        earlier = share.earlier if options.resume else {}
        if options.shard and options.resume:
            earlier = earlier_records(options.output, found.jobs, earlier)
    except (UsageError, SettingsError, DeviceError) as error:
        say(f"error: {error}")
        return 2
    except OSError as error:
        say(f"error: {describe_failure(error, options.output)}")
        return exit_status(error)
    listing, jobs, clashes = found.listing, found.jobs, found.clashes
    settled = find_settled(jobs, earlier, share.records(), config_hash)
    kept, replaced = of_other_images(earlier, [*jobs, *clashes])
    for record in [*settled.values(), *kept]:
        share.journal.append(record)
    for job, problem in clashes.items():
        share.journal.append({"image": job.name, "status": FAILED, "error": problem})
    announce(listing, jobs, settled, predictor, options.threads)
    if options.resume and is_broken(folder):
        say(f"warning: {folder / RUN_FILE} can't be read: no image counts as done by it")
    for text in replaced:
        say(f"warning: {text}")
    for problem in clashes.values():
        say(f"error: {problem}")

    waiting = [job for job in jobs if job.name not in settled]
    threads = 1 if restarted else options.threads  # which of several has crashed it is not known
    together = plan_together(waiting, threads, max_bytes, predictor, options.stack)
    tally = Tally(folder, len(jobs) + len(clashes), len(listing.unreadable))
    for record in [*settled.values(), *({"status": FAILED} for _ in clashes)]:
        tally.add(record)
    try:
        with progress(len(jobs), len(settled)) as bar:
            what = make_request(options), options.results, max_bytes, bar.inside, boxes
            work = make_worker(predictor, share, config_hash, *what)
            done = do(work, waiting) if do else do_all(work, waiting, together)
            for record in chain(done, await_others(work, share)):
                tally.add(record)
                bar.advance()
                for line in messages(record):
                    say(line)
    except KeyboardInterrupt:
        tally.interrupted = True
    try:
        with interrupts_ignored():
            share.leave(config, interrupted=tally.interrupted)
    except OSError as error:
        say(f"error: {folder}: run.json can't be written ({error.strerror}); {remedy(error)}")
        tally.unwritten = True
    if "report" in options.results and not (options.shard or tally.interrupted or tally.unwritten):
        tally.report = make_report(options.output)
        tally.unwritten = tally.report is None
    if "report" not in options.results and (options.output / REPORT_FILE).exists():
        say(f"warning: {options.output / REPORT_FILE} is of an earlier run")
    say(f"shard {options.shard}: {tally.describe()}" if options.shard else tally.describe())
    return tally.status


def announce(
    listing: Listing,
    jobs: list[Job],
    settled: dict[str, Record],
    predictor: Predictor,
    threads: int,
) -> None:
    """Say what is passed over, and what will be done on what."""
    for line in describe_passed(listing, to_search="--recursive"):
        say(line)
    for path, reason in listing.unreadable.items():
        say(f"error: {path}: can't be read ({reason}); make it readable, or take it away")
    if predictor.without_cuda:
        say(f"warning: {predictor.without_cuda}; the CPU does the work")
    graphs = ", ".join(graph.file for graph in predictor.graphs)
    where = f"{predictor.provider} ({graphs}), {counted(threads, 'CPU thread')}"
    kept = f" ({len(settled)} settled already)" if settled else ""
    say(f"segmenting {counted(len(jobs), 'image')} on {where}{kept}")
