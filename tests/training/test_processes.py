"""Processes that train together: their start and end, and what becomes of the others when one of them dies."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from earwitness import training
from earwitness.errors import EarwitnessError
from earwitness.nn.parallel import (
    average_gradients,
    averaged,
    from_first,
    gathered,
    own,
    processes,
    rank,
    share,
    summed,
    synchronise,
)
from earwitness.training.processes import INTERFACES, _join, _loss, agreed, collected, together

ROWS = torch.arange(10.0).reshape(5, 2)


def parts_and_wholes():
    """What two processes have of five rows, and of one row, which is the second's."""
    values = ROWS.clone().requires_grad_()
    squares = own(values).square()
    everyone = gathered(squares, 5)
    (everyone * torch.arange(5.0)[:, None]).sum().backward()
    gradient = values.grad.clone()
    parameter, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), float(rank()))
    average_gradients([parameter, unused])
    found = {
        "everyone": everyone.tolist(),
        "gradient": summed(gradient).tolist(),
        "one": gathered(own(torch.ones(1)), 1).tolist(),
        "share": [share(1), share(5)],
        "averaged": float(averaged(own(torch.full((1,), 3.0)).mean(), len(own(torch.ones(1))))),
        "first": int(from_first(torch.tensor(rank() + 7))),
        "averages": (parameter.grad.tolist(), unused.grad),
        "collected": collected([f"{rank()}a", "1b"] if rank() else ["0a", "0b", "0c"]),
        "agreed": agreed({"rank": rank()}),
    }
    with torch.no_grad():
        found["alone"] = len(own(ROWS)), gathered(ROWS, 5) is ROWS
    norm = torch.nn.BatchNorm1d(2)
    synchronise(norm)
    with pytest.raises(EarwitnessError, match="batch of one"):
        norm(own(ROWS[:1]))
    listening = {c.laddr.ip for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN}
    found["listening"] = set().union(*collected([listening]) or [])
    found["normalised"] = gathered(norm(own(ROWS)), 5).tolist()
    found["statistics"] = norm.running_mean.tolist(), norm.running_var.tolist(), int(norm.num_batches_tracked)
    return found


@pytest.fixture(scope="module")
def found():
    return together(2, parts_and_wholes)


def test_rows_of_all_processes(found):
    assert found["share"] == [slice(0, 0), slice(0, 2)] and found["one"] == [1.0]
    assert torch.tensor(found["everyone"]).equal(ROWS.square())
    # Each of the two processes has the loss, and its gradient comes from both.
    assert torch.tensor(found["gradient"]).equal(2 * 2 * ROWS * torch.arange(5.0)[:, None])


def test_values_of_all_processes(found):
    assert (found["averaged"], found["first"]) == (3, 7)
    assert found["averages"] == ([0.5, 0.5], None)
    assert found["collected"] == ["0a", "1a", "0b", "1b", "0c"] and found["agreed"] == {"rank": 0}


def test_without_gradients_a_process_is_alone(found):
    assert found["alone"] == (5, True)
    assert processes() == 1 and own(ROWS).equal(ROWS) and from_first(ROWS) is ROWS


def test_batch_normalisation_has_the_statistics_of_all(found):
    norm = torch.nn.BatchNorm1d(2)
    torch.testing.assert_close(torch.tensor(found["normalised"]), norm(ROWS).detach())
    mean, variance, count = found["statistics"]
    assert count == 1
    torch.testing.assert_close(torch.tensor(mean), norm.running_mean)
    torch.testing.assert_close(torch.tensor(variance), norm.running_var)


def test_no_process_listens_to_the_network(found):
    assert set() < found["listening"] <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("chosen", [None, "eth7"])
def test_torch_is_told_to_use_the_loopback_unless_the_user_chose(monkeypatch, chosen):
    """Without, it uses the interface of the host's name, which may be the loopback too."""
    for name in INTERFACES:
        monkeypatch.delenv(name, raising=False)
    if chosen:
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", chosen)
    before, during = dict(os.environ), {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda **_: during.update(os.environ))
    _join(None, 0, 2)
    told = [during[name] for name in INTERFACES]
    assert told[0] in ((chosen,) if chosen else ("lo", "lo0")) and told[1] in ("lo", "lo0")
    assert dict(os.environ) == before


def failing(how, folder):
    """The second process ends in one of several ways; the first waits for it, in a training or in a validation."""
    (folder / str(rank())).write_text(str(os.getpid()))
    if rank() == 0:
        if how == "both":
            while not ((folder / "1").exists() and (folder / "1").read_text()):
                time.sleep(0.01)
            raise EarwitnessError("the loss is nan")
        summed(torch.ones(1, requires_grad=True))
        time.sleep(60)
    match how:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "error":
            raise ValueError("an array is too large")
    time.sleep(60)


@pytest.mark.parametrize(
    ("how", "told"), [("killed", "SIGKILL"), ("error", "an array is too large"), ("both", "the loss is nan")]
)
def test_all_end_when_one_does(tmp_path, how, told):
    with pytest.raises(EarwitnessError, match=told) as caught:
        together(2, failing, how, tmp_path)
    assert ("Process 1 of the 2" in str(caught.value)) == (how != "both")
    assert processes() == 1
    assert (tmp_path / "0").read_text() == str(os.getpid())
    assert not psutil.pid_exists(int((tmp_path / "1").read_text()))


def test_the_loss_of_a_process_is_told_of_the_first_that_failed():
    """Others fail since they lost the connection to it."""
    store = torch.distributed.HashStore()
    others = [SimpleNamespace(exitcode=code) for code in (1, None, 1, -signal.SIGKILL)]
    store.set("error 1", "3 ValueError: too large")
    store.set("error 2", "1 RuntimeError: connection closed")
    assert re.search(r"(?s)Process 3 of the 5.*exit code 1.*too large$", _loss(others[:3] + others[1:2], store))
    assert re.search(r"Process 4 of the 5.*SIGKILL", told := _loss(others, store)) and "Error" not in told


class DiesWhileJoining:
    """When it arrives in another process, that one will be killed before it has joined the first."""

    def __reduce__(self):
        return die_while_joining, ()


def die_while_joining():
    training.processes._join = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


def test_the_first_does_not_wait_for_one_that_died_while_joining():
    first = start("import test_processes; test_processes.together(2, print, test_processes.DiesWhileJoining())")
    try:
        _, said = first.communicate(timeout=60)
    finally:
        first.kill()
    assert first.returncode == 1 and re.search("Process 1 of the 2.*SIGKILL", said), said


def start(code):
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.PIPE,
        start_new_session=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_first(tmp_path, kind):
    """Killed alone, or by Ctrl-C, which reaches all, while it waits for another one."""
    call = f"test_processes.together(2, test_processes.failing, '', pathlib.Path({str(tmp_path)!r}))"
    first = start(f"import pathlib, test_processes; {call}")
    deadline = time.monotonic() + 60
    while not all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in "01"):
        assert time.monotonic() < deadline and first.poll() is None, first.communicate()
        time.sleep(0.05)
    other = int((tmp_path / "1").read_text())
    time.sleep(0.2)
    (os.kill if kind == signal.SIGKILL else os.killpg)(first.pid, kind)
    _, said = first.communicate(timeout=20)
    assert first.returncode == -kind, said
    gone(other)


def gone(process):
    """Wait until a process has ended; whether it does."""
    deadline = time.monotonic() + 10
    while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
