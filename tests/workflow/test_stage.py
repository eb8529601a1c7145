"""Ctrl-C ends a script with a message, whatever the script is doing; its worker processes end in silence."""

import subprocess
import sys

import pytest

from tests.places import ROOT

CTRL_C = "os.kill(os.getpid(), signal.SIGINT); time.sleep(10)"
WORKER = "import multiprocessing; multiprocessing.parent_process = lambda: 1"
RUNNING = (
    "from types import SimpleNamespace\n"
    "with _stage.stage({'snakemake': SimpleNamespace(log=['a.log'], output=['a.json'])}):\n"
    f"    {CTRL_C}"
)


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        (f"import _stage\n{CTRL_C}", 130, "Interrupted: finished work is kept."),
        (f"import _stage\n{RUNNING}", 130, "Interrupted: finished work is kept."),
        (f"{WORKER}\nimport _stage\n{CTRL_C}", -2, ""),
    ],
    ids=["imports", "runs", "is a worker"],
)
def test_ctrl_c_while_a_script(code, status, message, tmp_path):
    listening = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background jobs ignore it
    code = f"import os, signal, sys, time\n{listening}\nsys.path.insert(0, {str(ROOT / 'workflow/scripts')!r})\n{code}"
    torn = tmp_path / ".a.json.x.tmp"  # of a process that was killed
    torn.touch()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().startswith(message) and done.stderr.count("Interrupted") == bool(message)
    assert torn.exists() == (RUNNING not in code)
