# mypy: allow-untyped-calls
"""Dask's workers: the networks are opened once in each of them, and are the same in all."""

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
from distributed import Client, Future
from distributed.scheduler import KilledWorker

from app.files.arrays import ImageError
from app.graphs import open_graphs
from app.look import Wanted
from app.overrides import Asked
from app.predict import Predictor
from app.running.console import say
from app.running.plan import UsageError
from app.running.shards import instruction_sets
from app.session import Device, Precision
from app.settings import Graph, Method, Resources, load_settings
from app.version import provenance


class SchedulerLost(KeyboardInterrupt):
    """The scheduler has gone; as an interrupt, that is nothing that an image has done."""


@dataclass(frozen=True)
class Networks:
    """Which networks, and how they run; every part names them, and so do workers that come late.

    Attributes:
        weights: absolute path of their folder.
        device: as for ``Predictor``, as are ``threads`` and ``precision``.
    """

    weights: Path
    device: Device
    threads: int
    precision: Precision


@dataclass(frozen=True)
class Opened:
    """What one worker has made of ``Networks``."""

    method: Method
    resources: Resources
    graphs: list[Graph]
    provider: str
    on_cpu: bool
    without_cuda: str | None
    precision: Precision
    made_by: dict[str, Any]
    """See ``app.version.provenance``; and the processor's instruction sets."""


class Remote(Predictor):
    """All that is to be known of a predictor whose networks run on the workers alone."""

    def __init__(
        self,
        client: Client,
        networks: Networks,
        opened: Opened,
        wanted: Wanted,
        channels: Asked | None,
    ) -> None:
        self.client, self.networks = client, networks
        self.method, self.resources = opened.method, opened.resources
        self.graphs, self.provider, self.on_cpu = opened.graphs, opened.provider, opened.on_cpu
        self.without_cuda = opened.without_cuda
        self.wanted, self.channels = wanted, channels


_opening = threading.Lock()


def predictor_of(
    networks: Networks, wanted: Wanted | None = None, channels: Asked | None = None
) -> Predictor:
    """The predictor of this worker, for all its threads; opened when it is first asked for."""
    with _opening:
        return _open(networks, wanted, channels)


@lru_cache(maxsize=1)
def _open(networks: Networks, wanted: Wanted | None, channels: Asked | None) -> Predictor:
    cv2.setNumThreads(networks.threads)  # for each thread of the worker
    how = networks.device, networks.threads, wanted, channels, networks.precision
    return Predictor(networks.weights, *how)


def open_here(networks: Networks) -> Opened:
    """Open the networks in this process.

    Raises:
        SettingsError: see ``open_graphs``, as for DeviceError.
    """
    graphs = open_graphs(networks.weights, networks.device, networks.threads, networks.precision)
    settings = load_settings(networks.weights)
    models = settings.detector, settings.segmenter
    of_integers = [g == m.get("vnni") for g, m in zip(graphs.files, models, strict=True)]
    precision = networks.precision
    if all(of_integers) or not any(of_integers):
        precision = "int8" if all(of_integers) else "float"
    made_by = provenance() | {"instructions": instruction_sets()}
    about = settings.method, settings.resources, graphs.files, graphs.provider, graphs.on_cpu
    return Opened(*about, graphs.without_cuda, precision, made_by)


def settle(client: Client, networks: Networks) -> tuple[Networks, Opened]:
    """Open the networks on all workers, and see that they are the same.

    Returns:
        The networks with the device and the precision that are meant, also for workers to come;
        and what was opened.

    Raises:
        UsageError: workers can't import this, or differ in the graphs that they would run.
        SettingsError: the weights can't be used.
        DeviceError: the device can't.
    """
    answers = client.run(open_here, networks, on_error="return")
    found = {where: way for where, way in answers.items() if isinstance(way, Opened)}
    for error in answers.values():
        # Of what a worker can't even load, only the text comes back.
        if "ModuleNotFoundError" in repr(error):
            raise UsageError(
                f"a worker can't load this package ({error}); start the workers with its "
                "environment, and with PYTHONPATH naming the checkout (docs/many-machines.md)"
            )
        # A worker that has just died costs nothing, unless there is no other.
        if not isinstance(error, Opened | OSError) or not found:
            raise error
    (first, opened), *others = sorted(found.items())
    for address, other in others:
        if (other.graphs, other.provider) != (opened.graphs, opened.provider):
            ways = [
                f"{where} runs {', '.join(graph.file for graph in way.graphs)} ({way.provider})"
                for where, way in ((first, opened), (address, other))
            ]
            raise UsageError(
                f"{', '.join(ways)}; cells would depend on who finds them: give --precision float "
                "and --device cpu, or take workers of one kind"
            )
        if other.made_by != opened.made_by:
            say(
                f"warning: {address} differs from {first} in version, libraries or processor, so "
                "cells may depend on who finds them"
            )
    device: Device = "cpu" if opened.on_cpu else "cuda"
    return replace(networks, device=device, precision=opened.precision), opened


def threads_of(client: Client) -> int:
    """Tasks that the workers do at once; they come and go."""
    return sum(client.nthreads().values())


def results_of(client: Client, futures: Sequence[Future[Any]], path: Path) -> list[Any]:
    """Wait for some parts of an image.

    Args:
        client: of the cluster.
        futures: of the parts.
        path: of the image, for messages.

    Raises:
        ImageError: no worker has survived a part.
        SchedulerLost: there is none to wait for.
    """
    try:
        return list(client.gather(list(futures)))
    except KilledWorker as error:
        raise ImageError(
            f"{path}: ended {error.allowed_failures + 1} workers, most likely for want of memory; "
            "give each more (dask worker --memory-limit)"
        ) from error
    except CancelledError as error:
        say("error: the scheduler has gone; start it again")
        raise SchedulerLost from error
