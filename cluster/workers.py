# mypy: allow-untyped-calls
"""Dask's workers: the networks are opened once in each of them, and are the same in all."""

import socket
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from app.graphs import Graphs, open_graphs
from app.look import Wanted
from app.overrides import Asked
from app.predict import Predictor
from app.running.console import say
from app.running.plan import UsageError
from app.running.shards import instruction_sets
from app.session import Device, DeviceError, Precision
from app.settings import Graph, Method, Resources, SettingsError
from app.version import provenance

from .connection import Connection, WorkerError


@dataclass(frozen=True)
class Networks:
    """Which networks, and how they run; every part names them, and so do workers that come late.

    Attributes:
        weights: absolute path of their folder.
        device: as for ``Predictor``, as are ``threads`` and ``precision``.
        graphs: SHA-256 of each, once the workers agree in them; others are refused then.
    """

    weights: Path
    device: Device
    threads: int
    precision: Precision
    graphs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opened:
    """What one worker has made of ``Networks``."""

    method: Method
    resources: Resources
    graphs: list[Graph]
    provider: str
    on_cpu: bool
    without_cuda: str | None
    networks: Networks
    """As they are named now: with the device and the precision that are meant, and their hashes."""
    made_by: dict[str, Any]
    """See ``app.version.provenance``; and the processor's instruction sets."""


class Remote(Predictor):
    """All that is to be known of a predictor whose networks run on the workers alone."""

    def __init__(
        self,
        connection: Connection,
        networks: Networks,
        opened: Opened,
        wanted: Wanted,
        channels: Asked | None,
    ) -> None:
        self.connection, self.networks = connection, networks
        self.method, self.resources = opened.method, opened.resources
        self.graphs, self.provider, self.on_cpu = opened.graphs, opened.provider, opened.on_cpu
        self.without_cuda = opened.without_cuda
        self.wanted, self.channels = wanted, channels


class Local(Predictor):
    """A predictor by networks that are open already."""

    def __init__(self, graphs: Graphs, wanted: Wanted, channels: Asked | None) -> None:
        self.method, self.resources = graphs.settings.method, graphs.settings.resources
        self.detector, self.segmenter = graphs.detector, graphs.segmenter
        self.graphs, self.provider, self.on_cpu = graphs.files, graphs.provider, graphs.on_cpu
        self.without_cuda = graphs.without_cuda
        self.wanted, self.channels = wanted, channels


_opened: dict[Networks, Graphs] = {}  # in this worker, the last that were asked for
_opening = threading.Lock()


def predictor_of(
    networks: Networks, wanted: Wanted | None = None, channels: Asked | None = None
) -> Predictor:
    """A predictor for one of this worker's threads; the networks are opened once for all of them.

    Raises:
        WorkerError: the worker, which may have come late, lacks the networks of the others.
    """
    with _opening:
        if networks not in _opened:
            where = f"a worker on {socket.gethostname()}"
            remedy = "end this worker, or give it what the others have, then --resume"
            try:
                _open(networks)
            except (SettingsError, DeviceError) as error:
                raise WorkerError(f"{where}: {error}; {remedy}") from error
            if networks not in _opened:
                (other,) = _opened
                raise WorkerError(
                    f"{where} has other networks in {networks.weights} than those that were asked "
                    f"at the start, or runs them otherwise ({other.device}, {other.precision}); "
                    f"{remedy}"
                )
        return Local(_opened[networks], wanted or Wanted(), channels)


def open_here(networks: Networks) -> Opened:
    """Open the networks in this process, anew, since their files may have changed.

    Raises:
        SettingsError: see ``open_graphs``, as for DeviceError.
    """
    with _opening:
        settled, graphs = _open(networks)
    settings = graphs.settings
    made_by = provenance() | {"instructions": instruction_sets()}
    about = settings.method, settings.resources, graphs.files, graphs.provider, graphs.on_cpu
    return Opened(*about, graphs.without_cuda, settled, made_by)


def _open(networks: Networks) -> tuple[Networks, Graphs]:
    """Open the networks; returns also how they are named now that they are known."""
    _opened.clear()  # before the next ones take memory
    cv2.setNumThreads(networks.threads)  # for each thread of the worker
    graphs = open_graphs(networks.weights, networks.device, networks.threads, networks.precision)
    models = graphs.settings.detector, graphs.settings.segmenter
    of_integers = [g == m.get("vnni") for g, m in zip(graphs.files, models, strict=True)]
    precision = networks.precision
    if all(of_integers) or not any(of_integers):
        precision = "int8" if all(of_integers) else "float"
    device: Device = "cpu" if graphs.on_cpu else "cuda"
    hashes = tuple(graph.sha256 for graph in graphs.files)
    settled = replace(networks, device=device, precision=precision, graphs=hashes)
    _opened[settled] = graphs
    return settled, graphs


def settle(connection: Connection, networks: Networks) -> tuple[Networks, Opened]:
    """Open the networks on all workers, and see that they are the same.

    Returns:
        The networks with the device and the precision that are meant, also for workers to come;
        and what was opened.

    Raises:
        UsageError: workers can't import this, or differ in the graphs that they would run; or all
            have died, or the scheduler has.
        SettingsError: the weights can't be used.
        DeviceError: the device can't.
    """
    try:
        with connection.waiting("waiting for all workers to say which networks they run"):
            answers = connection.client.run(open_here, networks, on_error="return")
    except OSError as error:
        raise UsageError(f"{connection.address}: the scheduler has gone; start it again") from error
    found = {where: way for where, way in answers.items() if isinstance(way, Opened)}
    for answer in answers.values():
        # Of what a worker can't even load, only the text comes back.
        if "ModuleNotFoundError" in repr(answer):
            raise UsageError(
                f"a worker can't load this package ({answer}); start the workers with its "
                "environment, and with PYTHONPATH naming the checkout (docs/many-machines.md)"
            )
        # A worker that has just died costs nothing, unless there is no other.
        if not isinstance(answer, Opened | OSError):
            raise answer
    if not found:
        raise UsageError(f"{connection.address}: its workers died when they opened the networks")
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
    return opened.networks, opened
