"""Inputs go through a graph several at once, while others are loaded and used."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.session import Network, run_batches

PATIENCE = 30  # seconds


def load(item):
    """An input whose side is the tens of the item, filled with the item."""
    return np.full((item // 10, 2), item, np.uint8)


def firsts(batch):
    return [batch[:, 0, 0].astype(np.float32)]


@given(items=st.lists(st.integers(10, 39), max_size=12), size=st.integers(1, 5))
@pytest.mark.parametrize("as_network", [False, True])
def test_each_item_has_its_own_output(items, size, as_network):
    seen = []

    def run(batch):
        seen.append(batch.shape)
        return firsts(batch)

    graph = Network(Session(run)) if as_network else run
    found = list(run_batches(graph, items, load, size))
    assert [item for item, _ in found] == [output for _, (output,) in found] == items
    assert all(count <= size for count, *_ in seen)
    assert sum(count for count, *_ in seen) == len(items)


@pytest.mark.parametrize("as_network", [False, True])
def test_where_memory_is_short_fewer_go_together(as_network, caplog):
    def run(batch):
        if len(batch) > 1:
            raise RuntimeError("Failed to allocate memory for requested buffer")
        return firsts(batch)

    def short(batch):
        try:
            return run(batch)
        except RuntimeError as error:
            raise MemoryError from error

    graph = Network(Session(run)) if as_network else short
    items = list(range(10, 20))
    assert [output for _, (output,) in run_batches(graph, items, load, 4)] == items
    assert "batches of 2" in caplog.text and "batches of 1" in caplog.text


def test_the_next_input_is_loaded_and_the_last_output_used_while_the_graph_runs():
    loaded, used = threading.Event(), threading.Event()
    calls = []

    def run(batch):
        calls.append(batch)
        # The graph ends only when the others have done their part.
        assert (loaded if len(calls) == 1 else used).wait(PATIENCE)
        return firsts(batch)

    def load_two(item):
        if item == 11:
            loaded.set()
        return load(item)

    for item, _ in run_batches(Network(Session(run)), [10, 11], load_two, 1):
        if item == 10:
            used.set()
    assert len(calls) == 2


@pytest.mark.parametrize("calls", [1, 3])
def test_as_many_run_at_once_as_the_network_says(calls):
    together = threading.Barrier(calls)
    running = []

    def run(batch):
        running.append(1)
        together.wait(PATIENCE)  # breaks unless all are there
        most.append(len(running))
        together.wait(PATIENCE)
        running.pop()
        return firsts(batch)

    most: list[int] = []
    items = list(range(10, 16))
    found = list(run_batches(Network(Session(run), calls, calls), items, load, 1))
    assert [item for item, _ in found] == items
    assert max(most) == calls


def test_what_fits_only_alone_runs_alone(caplog):
    running = []
    both = threading.Event()

    def run(batch):
        running.append(1)
        try:
            if len(running) > 1:
                both.set()
                raise RuntimeError("Failed to allocate memory for requested buffer")
            # The first has the other beside it; whoever comes after it need not wait.
            assert both.wait(PATIENCE)
            return firsts(batch)
        finally:
            running.pop()

    items = [10, 11, 12, 13]
    found = list(run_batches(Network(Session(run), 2, 2), items, load, 1))
    assert [(item, output) for item, (output,) in found] == [(item, item) for item in items]
    assert "going on with batches of 1, 1 at once" in caplog.text


def test_who_stops_asking_ends_the_graph():
    begun, ended = threading.Event(), threading.Event()

    def run(batch, options):
        if batch[0, 0, 0] == 11:
            begun.set()
            while not options.terminate:
                pass
            ended.set()
        return firsts(batch)

    results = run_batches(Network(Session(run, options=True)), [10, 11], load, 1)
    assert next(results)[0] == 10
    assert begun.wait(PATIENCE)
    results.close()
    assert ended.wait(PATIENCE)


def test_an_input_that_cannot_be_loaded_ends_the_graph():
    begun, ended = threading.Event(), threading.Event()

    def run(batch, options):
        begun.set()
        while not options.terminate:
            pass
        ended.set()
        return firsts(batch)

    def broken(item):
        if item == 11 and begun.wait(PATIENCE):
            raise OSError("the file is gone")
        return load(item)

    with pytest.raises(OSError, match="the file is gone"):
        list(run_batches(Network(Session(run, options=True)), [10, 11], broken, 1))
    assert ended.wait(PATIENCE)


class Session:
    """What a ``Network`` needs of a session of ONNX Runtime."""

    def __init__(self, run, options=False):
        self._run, self._options = run, options

    def get_inputs(self):
        return [SimpleNamespace(name="input")]

    def run(self, _outputs, inputs, options):
        return self._run(inputs["input"], *([options] if self._options else []))
