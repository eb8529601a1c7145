"""The local record of a run survives a kill at any byte."""

from errno import ENOSPC
from pathlib import Path

import pytest

from earwitness.errors import EarwitnessError
from earwitness.training.events import EventLog, read_events


@pytest.fixture
def log(tmp_path):
    return EventLog(tmp_path / "new" / "events.jsonl")


def test_events_there_and_back(log):
    log.append(params={"lr": 0.1})
    log.metrics(3, 0, loss=1.5)
    params, metrics = read_events(log.path)
    assert params["params"] == {"lr": 0.1}
    assert (metrics["step"], metrics["epoch"], metrics["metrics"]) == (3, 0, {"loss": 1.5})


def test_no_record_is_an_empty_one(log):
    assert list(read_events(log.path)) == []
    log.cut_back(5)
    assert list(read_events(log.path)) == []


def test_cutting_back_keeps_what_has_no_step_and_what_lies_up_to_it(log):
    log.append(params={})
    for step in (1, 5, 6, 9):
        log.metrics(step, 0, loss=0.0)
    log.cut_back(5)
    assert [event.get("step") for event in read_events(log.path)] == [None, 1, 5]


def test_a_torn_last_line_is_left_out_and_overwritten(log):
    log.metrics(1, 0, loss=0.5)
    log.metrics(2, 0, loss=0.25)
    whole = log.path.read_bytes()
    for kept in range(len(whole) // 2 + 1, len(whole) - 1):
        log.path.write_bytes(whole[:kept])
        assert [event["step"] for event in read_events(log.path)] == [1]
        log.cut_back(2)
        log.metrics(3, 0, loss=0.125)
        assert [event["step"] for event in read_events(log.path)] == [1, 3]


def test_cutting_back_leaves_the_record_whole_when_it_fails(log, monkeypatch):
    log.append(params={})
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        log.cut_back(0)
    assert [event["params"] for event in read_events(log.path)] == [{}]
    assert [path.name for path in log.path.parent.iterdir()] == ["events.jsonl"]


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_part(log, monkeypatch):
    log.metrics(1, 0, loss=0.5)
    before = log.path.read_bytes()

    class Full:
        """Has room for half a line, as a full disk has."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, text):
            self.file.write(text[: len(text) // 2])
            self.file.flush()
            raise OSError(ENOSPC, "No space left on device")

    opened = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *args, **kwargs: Full(opened(path, *args, **kwargs)))
        with pytest.raises(EarwitnessError, match=r"disk is full.*events\.jsonl"):
            log.metrics(2, 0, loss=0.25)
    assert log.path.read_bytes() == before
