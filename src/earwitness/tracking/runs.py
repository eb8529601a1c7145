"""Runs in an MLflow store: found by a key, made, and completed. Each step can be repeated without a second effect."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from earwitness.files import digest
from earwitness.tracking.store import artifacts_of
from earwitness.training.events import NO_END, summary

KEY = "earwitness.run_key"
TRAINING = "earwitness.training_key"
MESSAGE = "earwitness.message"
PROCESSES = "earwitness.processes"
METRIC_BATCH, PARAM_BATCH = 1000, 100  # MLflow's limits for one call
PARAM_LENGTH, TAG_LENGTH = 500, 5000
DIGEST_LENGTH = 32  # MLflow keeps 36 characters of the digest of a data set
CONTEXTS = {"development": "training", "validation": "validation", "evaluation": "evaluation"}  # by split
TAKEN = {
    "seconds": "system/duration_seconds",
    "peak_memory_bytes": "system/peak_memory_bytes",
    "peak_gpu_memory_bytes": "system/peak_gpu_memory_bytes",
    "energy_joules": "system/energy_joules",
}


class TrainingRun:
    """A run that gets what ``events.jsonl`` has of a training, while it runs or afterwards.

    Attributes:
        run_id: of MLflow.
        changed: whether the run lacked anything that it was given.
    """

    def __init__(self, client: Any, run: Any):
        self.run_id: str = run.info.run_id
        self.changed = False
        self._run, self._status, self._message = run, run.info.status, run.data.tags.get(MESSAGE)
        self._described = int(run.data.tags.get(PROCESSES, 0))
        self._known = {
            (name, point.step) for name in run.data.metrics for point in client.get_metric_history(self.run_id, name)
        }

    @classmethod
    def of(cls, client: Any, uri: str, events: Sequence[Mapping[str, Any]]) -> TrainingRun | None:
        """The run of a training, made if needed; None if one has the scores of this training already."""
        params, key = events[0]["params"], key_of_events(events)
        place = place_of(client, uri, params["dataset"])
        found = find(client, place, TRAINING, key)
        if any(KEY in run.data.tags for run in found):
            return None
        name = f"{params['experiment']} seed {params['seed']}"
        tags = {TRAINING: key, "earwitness.seed": str(params["seed"])}
        return cls(client, found[0] if found else new_run(client, place, name, tags, milliseconds(events[0])))

    def log(self, client: Any, events: Sequence[Mapping[str, Any]], alive: bool = False) -> str:
        """Log what the run lacks, and its status; returns that.

        Args:
            events: those of the training from the first on; alive: whether its process runs.
        """
        self.add(client, events)
        found = summary(events)
        if found["status"] == "RUNNING" and not alive:
            found |= {"status": "KILLED", "message": NO_END}
        self.state(client, found["status"], found["message"], milliseconds(events[-1]))
        return found["status"]

    def state(self, client: Any, status: str, message: str | None, end: int | None) -> None:
        """Set status and message, where they are others.

        Args:
            message: why it failed; None: it did not; end: in ms; now by default.
        """
        message = message[:TAG_LENGTH] if message else None
        if message != self._message:
            if message:
                client.set_tag(self.run_id, MESSAGE, message)
            else:
                client.delete_tag(self.run_id, MESSAGE)
            self._message, self.changed = message, True
        if status != self._status:
            if status == "RUNNING":
                client.update_run(self.run_id, status)
            else:
                client.set_terminated(self.run_id, status, end)
            self._status, self.changed = status, True

    def add(self, client: Any, events: Sequence[Mapping[str, Any]]) -> None:
        """Log what the run lacks of parameters, environment, inputs, curves, and what the training took."""
        if self._described != (processes := sum("started" in event for event in events)):
            self._describe(client, events)
            self._described, self.changed = processes, True
        points = [
            (name, value, milliseconds(event), event["step"])
            for event in events
            for name, value in event.get("metrics", {}).items()
        ]
        if "ended" in events[-1]:
            when, found = milliseconds(events[-1]), summary(events)
            taken = {name: found[key] for key, name in TAKEN.items() if found[key] is not None}
            points += [(name, value, when, processes) for name, value in taken.items()]
        self.points(client, points)

    def points(self, client: Any, points: Iterable[tuple[str, float, int, int]]) -> None:
        """Log metrics as name, value, time in ms and step; a step that was trained twice has one point."""
        from mlflow.entities import Metric

        lacking = [point for point in points if (point[0], point[3]) not in self._known]
        for start in range(0, len(lacking), METRIC_BATCH):
            batch = lacking[start : start + METRIC_BATCH]
            client.log_batch(self.run_id, metrics=[Metric(*point) for point in batch])
            self._known |= {(name, step) for name, _, _, step in batch}
            self.changed = True

    def _describe(self, client: Any, events: Sequence[Mapping[str, Any]]) -> None:
        from mlflow.entities import RunTag

        params = events[0].get("params", {})
        log_params(client, self._run, params.get("options", {}))
        log_inputs(client, self.run_id, _inputs_of_training(params))
        if not (starts := [event["started"] for event in events if "started" in event]):
            return
        last = starts[-1]
        tags = {f"earwitness.{key}": last[key] for key in ("host", "platform", "cpu", "python") if key in last}
        if "gpus" in last:
            tags |= {"earwitness.gpus": ", ".join(last["gpus"])}
        if commit := last.get("commit"):
            tags |= {"earwitness.commit": commit, "mlflow.source.git.commit": commit}
        client.log_batch(self.run_id, tags=[RunTag(name, str(value)) for name, value in tags.items()])
        client.log_dict(self.run_id, params.get("options", {}), "training.yaml")
        places = [{key: start[key] for key in start if key != "packages"} for start in starts]
        client.log_dict(self.run_id, {"processes": places}, "environment.json")
        packages = "".join(f"{name}=={version}\n" for name, version in last.get("packages", {}).items())
        client.log_text(self.run_id, packages, "requirements.txt")
        client.set_tag(self.run_id, PROCESSES, str(len(starts)))  # at last: a run with it has all above


def training_key(dataset: str, experiment: str, run_key: str) -> str:
    """The key of the run of a training."""
    return digest({"dataset": dataset, "experiment": experiment, "training": run_key})


def key_of_events(events: Sequence[Mapping[str, Any]]) -> str:
    """The key of the run of the training with these events."""
    params = events[0]["params"]
    started = next(event["started"] for event in events if "started" in event)
    return training_key(params["dataset"], params["experiment"], started["run_key"])


def place_of(client: Any, uri: str, dataset: str) -> str:
    """The id of a data set's MLflow experiment, created if needed."""
    from mlflow.exceptions import MlflowException

    # Makes MLflow show runs and curves by default, not traces of language models.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    found = client.get_experiment_by_name(dataset)
    if found is None:
        try:
            return client.create_experiment(dataset, artifacts_of(uri), tags=kind)
        except MlflowException:  # another job created it in between
            found = client.get_experiment_by_name(dataset)
            if found is None:
                raise
    return found.experiment_id


def new_run(client: Any, place: str, name: str, tags: Mapping[str, str], start: int | None = None) -> Any:
    """A new run, with a start in ms; now by default."""
    return client.create_run(place, start_time=start, run_name=name, tags=dict(tags))


def find(client: Any, place: str, tag: str, key: str) -> list[Any]:
    """The runs whose tag has this value."""
    return list(client.search_runs([place], filter_string=f"tags.`{tag}` = '{key}'"))


def log_params(client: Any, run: Any, params: Mapping[str, Any]) -> None:
    """Log the parameters that a run lacks; those of a run never change."""
    from mlflow.entities import Param

    lacking = [Param(name, str(value)[:PARAM_LENGTH]) for name, value in flat(params) if name not in run.data.params]
    for start in range(0, len(lacking), PARAM_BATCH):
        client.log_batch(run.info.run_id, params=lacking[start : start + PARAM_BATCH])


def log_inputs(client: Any, run_id: str, inputs: Mapping[tuple[str, str], Mapping[str, str]]) -> None:
    """Log data sets: for each data set and split, the digests of its files by name."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.exceptions import MlflowException

    found = [
        DatasetInput(
            Dataset(f"{dataset}/{split}", digest(files)[:DIGEST_LENGTH], "local", json.dumps({"sha256": files})),
            [InputTag("mlflow.data.context", CONTEXTS[split])],
        )
        for (dataset, split), files in inputs.items()
        if files
    ]
    if not found:
        return
    try:
        client.log_inputs(run_id, found)
    except MlflowException:  # another run added the same data set in between, which MLflow refuses
        client.log_inputs(run_id, found)


def milliseconds(event: Mapping[str, Any]) -> int:
    """The time of an event in MLflow's unit."""
    return round(event["time"] * 1000)


def now() -> int:
    """The time in MLflow's unit."""
    return int(time.time() * 1000)


def flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as dotted names, lists as JSON."""
    pairs: list[tuple[str, Any]] = []
    for name, value in content.items():
        if isinstance(value, Mapping):
            pairs += flat(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, json.dumps(value) if isinstance(value, list) else value))
    return pairs


def _inputs_of_training(params: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    """The files of a training by data set and split; tables and texts count to the training split."""
    files = params.get("inputs", {})
    validation = {name for name in files if name.split()[-1] == "validation"}
    dataset = params.get("options", {}).get("corpus") or params.get("dataset", "")
    return {
        (dataset, "development"): {name: files[name] for name in sorted(files.keys() - validation)},
        (dataset, "validation"): {name: files[name] for name in sorted(validation)},
    }
