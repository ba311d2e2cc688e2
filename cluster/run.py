# mypy: allow-untyped-calls
"""The frame of both commands: options, the cluster, records; as app/running/run.py for one machine.

What is in an output folder while it is at work, and run.json at the end, are those of one machine,
so runs of both kinds may share a folder, or resume one another.
"""

import argparse
import re
import signal
from functools import partial

from distributed import Client

from app.look import Wanted
from app.running.console import counted, open_streams, say
from app.running.options import parse
from app.running.plan import UsageError
from app.running.run import Do, run
from app.running.work import Worker

from .workers import Networks, Remote, settle

_ADDRESS = re.compile(r"[a-z]+://.+")
_PATIENCE = 60  # seconds for the scheduler to answer, and for the first worker


def main(
    given: list[str], description: str, predictor: type[Remote], worker: type[Worker], do: Do
) -> int:
    """A command line; returns the exit status.

    Args:
        given: the command line.
        description: what --help tells before the options.
        predictor: what segments an image.
        worker: what makes and records each image by that.
        do: all images by that; yields what is to be told of each, as it ends.
    """
    open_streams()
    if not given or given[0] in ("-h", "--help"):
        parse(["--help"], description)
    scheduler, *rest = given
    if not _ADDRESS.fullmatch(scheduler):
        say(f"error: {scheduler}: the scheduler's address was wanted first (tcp://HOST:8786)")
        return 2
    options = parse(["--threads", "1", *rest], description)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _connect(scheduler) as client:
            if options.shard:
                raise UsageError("--shard: the scheduler divides the work; leave it out")
            options.input, options.output = options.input.resolve(), options.output.resolve()
            say(f"{counted(len(client.nthreads()), 'worker')}; see {client.dashboard_link}")
            load = partial(_load, client, predictor)
            return run(options, load=load, make_worker=worker, do=do)
    except UsageError as error:
        say(f"error: {error}")
    except KeyboardInterrupt:
        say("interrupted before any image was begun")
        return 130
    return 2


def _connect(scheduler: str) -> Client:
    """The cluster, once it has a worker.

    Raises:
        UsageError: it has none, or isn't there.
    """
    try:
        client = Client(scheduler, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{scheduler}: no scheduler answers ({error}); start one") from error
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        client.close()
        raise UsageError(f"{scheduler}: has no workers; start some (dask worker)") from error
    return client


def _load(client: Client, predictor: type[Remote], options: argparse.Namespace) -> Remote:
    """The predictor of a cluster, once its workers agree; raises what ``settle`` does."""
    asked = Networks(options.weights.resolve(), options.device, options.threads, options.precision)
    networks, opened = settle(client, asked)
    by_hand = ("percentiles", "levels", "diameter", "magnification")
    wanted = Wanted(**{key: getattr(options, key) for key in by_hand})
    return predictor(client, networks, opened, wanted, options.channels)
