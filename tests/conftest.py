"""Settings of the whole suite."""

import errno
import os
import signal
import sys

import pytest

# A shell's background job, and all that it starts, would ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Read when the libraries are imported, by the processes that tests start too: with a thread for each core, small
# arrays spend their time in switching, and tests that run beside other work time out.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def one_thread():
    """Undo the threads of stages that set them, without importing torch for tests that need none."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture
def unreadable(monkeypatch):
    """Makes folders such that they cannot be read, though root runs the tests."""

    def lock(*folders):
        refused, scandir = set(map(str, folders)), os.scandir

        def scan(path="."):
            if str(path) in refused:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", scan)

    return lock


LONGEST = ("tests/workflow/test_mini.py", "tests/workflow/", "tests/extending/")  # runs of the DAG, the longest first


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no process is left alone with it at the end."""

    def place(item) -> int:
        path = item.path.as_posix()
        return next((number for number, part in enumerate(LONGEST) if part in path), len(LONGEST))

    items.sort(key=place)
