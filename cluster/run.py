# mypy: allow-untyped-calls
"""The frame of both commands: options, the cluster, records; as app/running/run.py for one machine.

What is in an output folder while it is at work, and run.json at the end, are those of one machine,
so runs of both kinds may share a folder, or resume one another.
"""

import argparse
import re
import signal
from functools import partial

from app.look import Wanted
from app.running.console import counted, open_streams, say
from app.running.options import parse
from app.running.plan import UsageError
from app.running.remedies import TRY_AGAIN
from app.running.run import Do, run
from app.running.work import Worker

from .connection import Connection
from .workers import Networks, Remote, settle

_ADDRESS = re.compile(r"[a-z]+://.+")
_INTERRUPTED = 130  # exit status


def main(
    given: list[str],
    name: str,
    description: str,
    predictor: type[Remote],
    worker: type[Worker],
    do: Do,
) -> int:
    """A command line; returns the exit status.

    Args:
        given: the command line.
        name: of the module.
        description: what --help tells before the options.
        predictor: what segments an image.
        worker: what makes and records each image by that.
        do: all images by that; yields what is to be told of each, as it ends.
    """
    open_streams()
    scheduler, *rest = given or [""]
    prog = f"python -m {name} SCHEDULER"
    if scheduler in ("-h", "--help", "--version"):
        parse([scheduler], description, prog)
    if not _ADDRESS.fullmatch(scheduler):
        found = f"{scheduler}: " if scheduler else ""
        say(f"error: {found}the scheduler's address was wanted first (tcp://HOST:8786)")
        return 2
    options = parse(["--threads", "1", *rest], description, prog)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if options.shard:
            raise UsageError("--shard: the scheduler divides the work; leave it out")
        options.input, options.output = options.input.resolve(), options.output.resolve()
        with Connection(scheduler) as connection:
            workers = counted(connection.await_worker(), "worker")
            say(f"{workers}; see {connection.client.dashboard_link}")
            load = partial(_load, connection, predictor)
            status = run(options, load=load, make_worker=worker, do=do)
    except UsageError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        say("interrupted before any image was begun")
        return _INTERRUPTED
    if connection.is_lost and status == _INTERRUPTED:
        say(f"error: {scheduler}: the scheduler has gone; start it again, then this with --resume")
        return TRY_AGAIN
    return status


def _load(connection: Connection, predictor: type[Remote], options: argparse.Namespace) -> Remote:
    """The predictor of a cluster, once its workers agree; raises what ``settle`` does."""
    asked = Networks(options.weights.resolve(), options.device, options.threads, options.precision)
    networks, opened = settle(connection, asked)
    by_hand = ("percentiles", "levels", "diameter", "magnification")
    wanted = Wanted(**{key: getattr(options, key) for key in by_hand})
    return predictor(connection, networks, opened, wanted, options.channels)
