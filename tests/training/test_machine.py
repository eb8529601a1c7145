"""What a training took is recorded once for each process, whatever ended it."""

import json

import pytest

from earwitness.errors import EarwitnessError
from earwitness.training import machine
from earwitness.training.events import EventLog, read_events, summary
from earwitness.training.machine import Energy, environment, recorded


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "environment", lambda: {"host": "here"})
    log = EventLog(tmp_path / "events.jsonl")
    log.append(params={})
    return log


def test_start_and_end_are_recorded(log):
    with recorded(log, "key"):
        log.metrics(1, 0, loss=0.5)
    params, started, metrics, ended = read_events(log.path)
    assert "params" in params and "metrics" in metrics and started["started"] == {"run_key": "key", "host": "here"}
    assert ended["ended"]["status"] == "FINISHED" and ended["ended"]["message"] is None
    assert ended["ended"]["peak_memory_bytes"] > 1e7 and 0 <= ended["ended"]["seconds"] < 60


def test_memory_of_processes_that_train_together_is_summed_and_that_of_gpus_is_not(log, monkeypatch):
    def took(memory, gpu):
        return {"peak_memory_bytes": memory, "peak_gpu_memory_bytes": gpu}

    monkeypatch.setattr(machine, "peaks", lambda: took(5, 2))
    with recorded(log, "key") as others:
        others += [took(3, None), took(4, 7)]
    assert list(read_events(log.path))[-1]["ended"].items() >= took(12, 7).items()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (EarwitnessError("row 3"), "FAILED", "row 3"),
        (ValueError("x"), "FAILED", "ValueError: x"),
        (KeyboardInterrupt(), "KILLED", "Ctrl-C"),
        (SystemExit(1), "KILLED", "signal"),
    ],
)
def test_an_error_or_a_signal_is_the_status(log, error, status, said):
    with pytest.raises(type(error)), recorded(log, "key"):
        raise error
    found = summary(read_events(log.path))
    assert found["status"] == status and said in found["message"] and found["processes"] == 1


def test_a_process_without_an_end_was_killed_at_its_last_event(log):
    log.append(time=100.0, started={})
    log.append(time=107.0, step=1, metrics={})
    assert summary(read_events(log.path))["status"] == "RUNNING"
    with log.path.open("a") as file:
        file.write('{"torn')
    with recorded(log, "key"):
        pass
    found = list(read_events(log.path))
    ends = [(event["time"], event["ended"]["status"], event["ended"]["seconds"]) for event in found if "ended" in event]
    assert ends[0] == (107.0, "KILLED", 7.0) and ends[1][1] == "FINISHED"
    assert summary(found)["processes"] == 2 and 7 <= summary(found)["seconds"] < 60


def test_a_full_disk_at_the_end_hides_no_error(log, monkeypatch):
    with pytest.raises(ValueError, match="first"), recorded(log, "key"):
        monkeypatch.setattr(log, "append", lambda **_: (_ for _ in ()).throw(EarwitnessError("full")))
        raise ValueError("first")


def test_processes_are_summed():
    ends = [
        {"status": "KILLED", "message": "x", "seconds": 5.0},
        {"status": "FINISHED", "message": None, "seconds": 2.0, "peak_memory_bytes": 3, "energy_joules": 1.5},
    ]
    events = [event for end in ends for event in ({"started": {}}, {"ended": end})]
    assert summary(events) == {
        "status": "FINISHED",
        "message": None,
        "processes": 2,
        "seconds": 7.0,
        "energy_joules": 1.5,
        "peak_memory_bytes": 3,
        "peak_gpu_memory_bytes": None,
    }


def test_the_environment_has_names_and_versions_alone():
    found = environment()
    assert found["packages"]["torch"] and found["python"].startswith("3.") and found["host"]
    assert "/" not in json.dumps(found["packages"])


@pytest.mark.parametrize("error", [None, KeyError("METADATA")])
def test_what_a_broken_installation_left_fails_no_training(log, monkeypatch, error):
    """Its name is None, or with importlib_metadata an error."""

    class Broken:
        version = None

        @property
        def name(self):
            if error:
                raise error

    real = machine.distributions
    monkeypatch.setattr(machine, "distributions", lambda: [*real(), Broken()])
    monkeypatch.setattr(machine, "environment", environment)
    with recorded(log, "key"):
        pass
    started = next(event["started"] for event in read_events(log.path) if "started" in event)
    assert started["packages"]["torch"] and not {None, "null", "None"} & set(started["packages"])


def test_a_machine_that_cannot_be_described_fails_no_training(log, monkeypatch):
    monkeypatch.setattr(machine, "environment", lambda: {}["METADATA"])
    with recorded(log, "key"):
        pass
    params, started, ended = read_events(log.path)
    assert started["started"]["run_key"] == "key" and "METADATA" in started["started"]["error"]
    assert "params" in params and ended["ended"]["status"] == "FINISHED"


def test_energy_of_processors_beyond_the_end_of_their_counter(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RAPL", tmp_path)
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):  # two processors, and a part of the first
        (tmp_path / name).mkdir()
        (tmp_path / name / "max_energy_range_uj").write_text("10000000\n")
        (tmp_path / name / "energy_uj").write_text("9000000\n")
    energy = Energy()
    (tmp_path / "intel-rapl:0/energy_uj").write_text("500000\n")
    (tmp_path / "intel-rapl:1/energy_uj").write_text("9250000\n")
    assert energy.used() == {"energy_joules": 1.8, "energy_of": ["cpu 0", "cpu 1"]}  # 1.5 + 0.25


def test_energy_that_cannot_be_read_has_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RAPL", tmp_path)
    monkeypatch.setattr(machine, "_gpu_counters", dict)
    used = Energy().used()
    assert used["energy_joules"] is None and str(tmp_path) in used["energy_unknown"]


def test_energy_of_gpus(monkeypatch, tmp_path):
    """NVML as its documentation has it: millijoules of a device that is found by its identifier."""
    readings = iter([5_000, 5_000])

    class Nvml:
        def nvmlInit_v2(self):
            return 0

        def nvmlDeviceGetHandleByUUID(self, uuid, device):
            return 0 if uuid == b"GPU-abc" else 6

        def nvmlDeviceGetTotalEnergyConsumption(self, device, value):
            value._obj.value = next(readings, 12_500)
            return 0

    class Properties:
        uuid = "abc"

    monkeypatch.setattr(machine, "RAPL", tmp_path)
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: Nvml())
    monkeypatch.setattr(machine.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(machine.torch.cuda, "get_device_properties", lambda number: Properties())
    used = Energy().used()
    assert used == {"energy_joules": 7.5, "energy_of": ["gpu 0"]}
