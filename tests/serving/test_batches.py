"""Requests of threads are answered together, each once, in order, and an error reaches those it belongs to."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from earwitness.serving.batches import Batches


def test_threads_are_answered_together_and_each_has_its_own():
    sizes, running = [], threading.Lock()

    def double(requests):
        assert running.acquire(blocking=False)  # never two calls at once
        time.sleep(0.01)
        sizes.append(len(requests))
        running.release()
        return [2 * request for request in requests]

    batches = Batches(double, most=6)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: batches([n, n + 1000]), range(100)))
    assert found == [[2 * n, 2 * n + 2000] for n in range(100)]
    assert sum(sizes) == 200 and max(sizes) == 6 and len(sizes) < 80
    assert batches([]) == []


def test_an_error_is_that_of_the_requests_of_its_call():
    def refuse(requests):
        if "bad" in requests:
            raise ValueError("bad")
        return requests

    batches = Batches(refuse, most=1)
    with pytest.raises(ValueError, match="bad"):
        batches(["good", "bad"])
    assert batches(["good"]) == ["good"]
    with pytest.raises(ValueError, match="shorter"):  # too few answers
        Batches(lambda requests: [])(["good"])


def test_an_interrupted_call_leaves_nobody_waiting():
    started = threading.Event()

    def interrupted(requests):
        if "first" in requests:
            started.set()
            time.sleep(0.05)
            raise KeyboardInterrupt
        return requests

    batches = Batches(interrupted, most=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batches, ["first"])
        started.wait()
        second = pool.submit(batches, ["second"])
        assert second.result(timeout=5) == ["second"]
        assert isinstance(first.exception(timeout=5), KeyboardInterrupt)
