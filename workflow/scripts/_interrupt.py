"""Ctrl-C while a script imports its modules, where an exception would come out as a traceback from any of them.

Importing this module ends the script at once on Ctrl-C, until `raise_again`. A worker process, which imports the
script too, ends silently.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

INTERRUPTED = "\nInterrupted: finished work is kept. Run the same command to resume.\n"


def raise_again() -> None:
    """From here on, Ctrl-C is a KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(130)


_main = threading.current_thread() is threading.main_thread()
if _main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL if multiprocessing.parent_process() else _end)
