"""Requests of threads are answered together, each once, in order, and an error reaches those it belongs to."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from earwitness.errors import EarwitnessError
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


@pytest.mark.parametrize("most", [0, -1, "4", 1.5, None, True])
def test_batches_of_no_size_are_refused(most):
    with pytest.raises(EarwitnessError, match=re.escape(repr(most))):
        Batches(list, most=most)


def test_nothing_waits_for_nobody():
    started, go = threading.Event(), threading.Event()

    def held(requests):
        if requests == ["second"]:
            started.set()
            assert go.wait(5)
        return requests

    batches = Batches(held, most=1)
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(batches, ["first", "second"])
        started.wait()
        assert batches([]) == [] and not long.done()
        go.set()


def test_an_answer_does_not_wait_for_what_comes_after_it():
    arrived, answered = threading.Semaphore(0), threading.Semaphore(0)

    def held(requests):
        if requests == [0]:
            assert all(arrived.acquire(timeout=5) for _ in range(7))
            time.sleep(0.02)  # until they are in the queue
        elif held.calls == 7:  # the last one: all others have their answers
            assert all(answered.acquire(timeout=5) for _ in range(7))
        held.calls += 1
        return requests

    held.calls = 0
    batches = Batches(held, most=1)

    def ask(number):
        if number:
            arrived.release()
        found = batches([number])
        answered.release()
        return found

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [[number] for number in range(8)]


def test_an_error_is_that_of_the_requests_of_its_call():
    def refuse(requests):
        if "bad" in requests:
            raise ValueError("bad")
        return requests

    batches = Batches(refuse, most=1)
    with pytest.raises(ValueError, match="bad"):
        batches(["good", "bad"])
    assert batches(["good"]) == ["good"]
    tried, started = [], threading.Event()

    def fail(requests):
        started.set()
        time.sleep(0.05)  # meanwhile the others gather
        tried.append(len(requests))
        return refuse(requests)

    batches = Batches(fail, most=8)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(batches, ["first"])
        started.wait()
        found = [pool.submit(batches, [name]) for name in ("a", "bad", "b", "c")]
        assert isinstance(found.pop(1).exception(), ValueError)
        assert [first.result(), *(one.result() for one in found)] == [["first"], ["a"], ["b"], ["c"]]
    assert max(tried) > 1
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
