"""Requests of several threads answered together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from earwitness.errors import EarwitnessError

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
        most: requests in one call; the setting ``batch`` of a served model.
        pause: seconds that a call waits for more requests, where it has fewer than ``most``.

    Raises EarwitnessError for a ``most`` that is no integer of 1 or more.
    """

    def __init__(self, function: Callable[[Sequence[Request]], Sequence[Answer]], most: int = 32, pause: float = 0.004):
        if type(most) is not int or most < 1:
            raise EarwitnessError(f"`batch` is {most!r}; how many rows are answered together is an integer from 1 on.")
        self._function, self._most, self._pause = function, most, pause
        self._queue, self._busy, self._changed = deque[_Waiting[Request, Answer]](), False, threading.Condition()

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers to requests, in order. Raises what the function raised for one of them by itself."""
        own = [_Waiting[Request, Answer](request) for request in requests]
        self._queue.extend(own)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._busy or all(one.done for one in own))
                if all(one.done for one in own):
                    break
                self._busy = True
            try:
                if len(self._queue) < self._most:
                    time.sleep(self._pause)
                # Only this thread takes from the queue now, and those that were before its own go first.
                self._answer([self._queue.popleft() for _ in range(min(self._most, len(self._queue)))])
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
        if errors := [one.error for one in own if one.error is not None]:
            raise errors[0]
        return [one.answer for one in own]  # type: ignore[misc]

    def _answer(self, batch: Sequence[_Waiting[Request, Answer]]) -> None:
        parts = [batch]
        try:
            while parts:
                part = parts.pop()
                try:
                    answers = self._function([one.request for one in part])
                    for one, answer in zip(part, answers, strict=True):
                        one.answer = answer
                except Exception as error:
                    if len(part) == 1:
                        part[0].error = error
                    else:  # one of them may fail, or all together may be too many
                        parts += [part[len(part) // 2 :], part[: len(part) // 2]]
        except BaseException as error:
            for one in batch:
                one.error = error
            raise
        finally:
            for one in batch:
                one.done = True
