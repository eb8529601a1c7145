"""A lock excludes others and never outlives its holder."""

import subprocess
import sys
import threading

import pytest

from earwitness.errors import EarwitnessError
from earwitness.lock import hold


def test_one_at_a_time(tmp_path):
    path = tmp_path / "new" / "lock"
    with hold(path, "busy"):
        with pytest.raises(EarwitnessError, match="busy"), hold(path, "busy"):
            pass
        assert path.exists()
    assert not path.exists()
    with hold(path, "busy"):
        pass


def test_the_lock_of_a_dead_process_is_free(tmp_path):
    code = (
        "import pathlib, sys; from earwitness.lock import hold\n"
        "with hold(pathlib.Path(sys.argv[1]), 'busy'): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, tmp_path / "lock"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(EarwitnessError, match="busy"), hold(tmp_path / "lock", "busy"):
        pass
    process.kill()
    process.communicate()
    with hold(tmp_path / "lock", "busy"):
        pass


def test_waiting_threads_take_turns(tmp_path):
    count = tmp_path / "count"
    count.write_text("0")

    def add():
        for _ in range(50):
            with hold(tmp_path / "lock"):
                count.write_text(str(int(count.read_text()) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.read_text() == "200"
