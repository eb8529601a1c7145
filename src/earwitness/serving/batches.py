"""Requests of several threads answered together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass(eq=False)
class _Waiting(Generic[Request, Answer]):
    request: Request
    done: bool = False
    answer: Answer | None = None
    error: BaseException | None = None


class Batches(Generic[Request, Answer]):
    """Calls a function with the requests of all threads that wait, in the order of their arrival.

    There is no thread of its own: one of those that wait makes the call, and the others find their answers. While a
    call runs, requests gather for the next one, so that batches grow with the load.

    Args:
        function: gives an answer for each request, in order; never runs in two threads at once.
        most: requests in one call.
        pause: seconds that a call waits for more requests, where it has fewer than ``most``.
    """

    def __init__(self, function: Callable[[Sequence[Request]], Sequence[Answer]], most: int = 32, pause: float = 0.004):
        self._function, self._most, self._pause = function, most, pause
        self._queue, self._busy = deque[_Waiting[Request, Answer]](), threading.Lock()

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers to requests, in order. Raises what the function raised for one of them."""
        own = [_Waiting[Request, Answer](request) for request in requests]
        self._queue.extend(own)
        with self._busy:
            while not all(one.done for one in own):
                if len(self._queue) < self._most:
                    time.sleep(self._pause)
                # Only this thread takes from the queue, and those that were before its own go first.
                self._answer([self._queue.popleft() for _ in range(min(self._most, len(self._queue)))])
        if errors := [one.error for one in own if one.error is not None]:
            raise errors[0]
        return [one.answer for one in own]  # type: ignore[misc]

    def _answer(self, batch: Sequence[_Waiting[Request, Answer]]) -> None:
        try:
            answers = self._function([one.request for one in batch])
            for one, answer in zip(batch, answers, strict=True):
                one.answer = answer
        except BaseException as error:
            for one in batch:
                one.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            for one in batch:
                one.done = True
