"""Several processes on one machine that train together: one for each GPU, or on the CPU.

The first of them is the one that was asked to train; it starts the others, which end with it. They are not started by
Lightning, which runs the program's command line again: there is none in a notebook, and that of a job of Snakemake is
not repeatable. Nor does each compute the gradients of a network wrapped by torch's DistributedDataParallel, which sums
them in another order after its first step: a resumed training would have other last digits.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import chain, zip_longest
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch
from torch import distributed

from earwitness.errors import EarwitnessError
from earwitness.nn.parallel import processes

TIMEOUT = timedelta(hours=6)  # longer than a validation, for which the others wait; a dead process is noticed at once
GRACE = 60  # seconds for an error to come out of a training that another process has left
HOST = "127.0.0.1"
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")  # or torch would listen to the network of the host's name

Result = TypeVar("Result")


def together(count: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function in ``count`` processes at once, this one among them, and return what it gives here.

    Function and arguments are pickled for the others, which are silent.

    Raises EarwitnessError if another process dies, or there are fewer GPUs than processes.
    """
    if count == 1:
        return function(*arguments)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if 0 < gpus < count:
        raise EarwitnessError(
            f"train.devices is {count}, and {gpus} GPUs are here. Set it to {gpus} at most, or check "
            "CUDA_VISIBLE_DEVICES; with none visible, the processes train on the CPU."
        )
    server = socket.create_server((HOST, 0))  # or torch would listen to the whole network
    port = server.getsockname()[1]
    store = distributed.TCPStore(
        HOST, port, is_master=True, timeout=TIMEOUT, wait_for_workers=False, master_listen_fd=server.detach()
    )
    context, method = multiprocessing.get_context("spawn"), multiprocessing.get_start_method(allow_none=True)
    others: list[BaseProcess] = [
        context.Process(target=_member, args=(number, count, port, method, function, arguments))
        for number in range(1, count)
    ]
    joined, ended = threading.Event(), threading.Event()
    try:
        for process in others:
            process.start()
        while not store.check([f"ready {number}" for number in range(1, count)]):
            if any(process.exitcode is not None for process in others):
                raise EarwitnessError(_loss(others, store))
            time.sleep(0.05)
        # With its own connection: the other one is busy as long as this process waits.
        own = distributed.TCPStore(HOST, port, is_master=False, timeout=TIMEOUT)
        threading.Thread(target=_watch, args=(others, own, joined, ended), daemon=True).start()
        _join(store, 0, count)
        joined.set()
        result = function(*arguments)
        for process in others:
            process.join(GRACE)
        return result
    except EarwitnessError:
        raise
    except Exception as error:
        gone = wait([process.sentinel for process in others], timeout=5)
        for process in others:
            if process.sentinel in gone:
                process.join()  # its exit code comes a moment later
        if any(process.exitcode for process in others):
            raise EarwitnessError(_loss(others, store)) from error
        raise
    finally:
        for process in others:
            if process.pid is not None:
                process.kill()
                process.join()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        ended.set()


def _join(store: distributed.Store, number: int, count: int) -> None:
    settings: dict[str, Any] = {"backend": "gloo"}
    if torch.cuda.is_available():
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
        settings = {"backend": "nccl", "device_id": device}
    local = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    added = {name: local[0] for name in INTERFACES if local and name not in os.environ}
    os.environ.update(added)
    try:
        distributed.init_process_group(store=store, rank=number, world_size=count, timeout=TIMEOUT, **settings)
    finally:
        for name in added:
            del os.environ[name]


def _member(
    number: int, count: int, port: int, method: str | None, function: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    """What another process than the first does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all, and the first may be waiting for this one
    multiprocessing.set_start_method(method, force=True)  # its processes that load batches start as the first one's
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()  # type: ignore[union-attr]
    store = distributed.TCPStore(HOST, port, is_master=False, timeout=TIMEOUT)
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
        store.set(f"ready {number}", "")
        _join(store, number, count)
        function(*arguments)
    except BaseException:
        place = f"error {store.add('errors', 1)}"
        store.set(place, f"{number} {traceback.format_exc()}")
        store.get(place)  # it has arrived
        os._exit(1)


def _loss(others: Sequence[BaseProcess], store: distributed.Store) -> str:
    """The message on the process that ended early, and made others do so.

    That is one that a signal ended, of which others see lost connections, else the one with the earliest error.
    """
    ended = {number: process.exitcode for number, process in enumerate(others, start=1) if process.exitcode is not None}
    number, said = min(ended, key=lambda number: ended[number] >= 0), ""
    if ended[number] >= 0 and store.check(["error 1"]):
        place, _, text = store.get("error 1").decode().rstrip().partition(" ")
        number, said = int(place), f"\n{text}"
    code = ended.get(number, 1)  # what has told its error ends a moment later
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    if code == -signal.SIGKILL:
        how += ", often for lack of memory"
    return (
        f"Process {number} of the {len(others) + 1} that train together, from 0, has ended ({how}). Run the same "
        f"command again: the training resumes where it stopped.{said}"
    )


def _watch(
    others: Sequence[BaseProcess], store: distributed.Store, joined: threading.Event, ended: threading.Event
) -> None:
    """End this process where it waits for one that has ended: while they join, on GPUs and in a long validation."""
    running = list(others)
    while running and not ended.is_set():
        wait([process.sentinel for process in running], timeout=1)
        if any(process.exitcode for process in running):
            if not ended.wait(GRACE if joined.is_set() else 2):
                print(f"\n{_loss(others, store)}\n", file=sys.stderr, flush=True)
                os._exit(1)
            return
        running = [process for process in running if process.exitcode is None]


def collected(values: list[Any]) -> list[Any] | None:
    """In the first process, the values of all in turn: the first of each, the second of each ...; None in others."""
    if processes() == 1:
        return values
    parts: list[Any] | None = [None] * processes() if distributed.get_rank() == 0 else None
    distributed.gather_object(values, parts)
    nothing = object()
    rounds = zip_longest(*parts, fillvalue=nothing) if parts is not None else ()
    return None if parts is None else [value for value in chain.from_iterable(rounds) if value is not nothing]


def agreed(value: Any) -> Any:
    """The value of the first process."""
    if processes() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]
