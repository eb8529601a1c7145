"""Publish finished runs to MLflow: one MLflow experiment per data set, a parent run per experiment, a child per seed.

Runs are identified by a run key, so publishing twice changes nothing. A tracking server that is down never fails a
result: the failure is recorded, and ``earwitness publish`` tries again.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness import registry
from earwitness.evaluation.result import kinds_of
from earwitness.files import digest, read_json, sha256, write_json
from earwitness.systems.interface import PREDICTION
from earwitness.training.events import read_events

KEY = "earwitness.run_key"
RESULT = "earwitness.result_sha256"
PARENT = "mlflow.parentRunId"
METRIC_BATCH = 1000  # MLflow's limit for one call
PARAM_LENGTH = 500


def store_uri(configured: str) -> str:
    """The tracking store: MLFLOW_TRACKING_URI if set, else the configured one."""
    return os.environ.get("MLFLOW_TRACKING_URI") or configured


def prepare_store(uri: str, out: Path) -> bool:
    """Create the store's schema before parallel jobs race to do so; record the outcome in ``out``, return success."""
    record: dict[str, Any] = {"uri": uri, "ready": True}
    try:
        _client(uri).search_experiments(max_results=1)
    except Exception as error:  # publishing tries again
        record |= {"ready": False, "reason": f"{type(error).__name__}: {error}"}
    write_json(out, record)
    return record["ready"]


def publish(uri: str, result: Path, folders: Sequence[Path], out: Path) -> bool:
    """Publish an experiment's result and the runs of its seeds; record the outcome in ``out`` and return success.

    Args:
        result: the experiment's ``metrics.json``; folders: the folders of its seeds.
    """
    record: dict[str, Any] = {"result_sha256": sha256(result), "uri_scheme": uri.split(":", 1)[0]}
    try:
        run_ids = _publish(uri, result, folders)
        record |= {"published": True, "runs": run_ids}
    except Exception as error:  # tracking never fails a result
        record |= {"published": False, "reason": f"{type(error).__name__}: {error}"}
    write_json(out, record)
    return record["published"]


def runs_pages(uri: str) -> dict[str, str]:
    """For each data set with runs, the path of the page in MLflow that lists them."""
    found = _client(uri).search_experiments(filter_string="name != 'Default'")
    return {experiment.name: f"/#/experiments/{experiment.experiment_id}/runs" for experiment in found}


def run_key(content: dict[str, Any], folder: Path) -> str:
    """The key of a seed's run, from its training and its scores (another decoding is another run).

    Args:
        content: the experiment's ``metrics.json``; folder: the seed's folder.
    """
    model = folder / "model.json"
    training = read_json(model)["run_key"] if model.is_file() else folder.name
    scores = {kind: sha256(folder / kind / "metrics.json") for kind in kinds_of(content)}
    return digest(
        {key: content[key] for key in ("dataset", "experiment")} | {"training": training, "evaluation": scores}
    )


def _publish(uri: str, result: Path, folders: Sequence[Path]) -> dict[str, str]:
    client = _client(uri)
    content = read_json(result)
    place = _experiment(client, uri, content["dataset"])
    parent = _parent_run(client, place, content, result)
    seeds = zip(content["seeds"], folders, strict=True)
    return {
        "parent": parent,
        **{str(seed): _seed_run(client, place, parent, content, seed, path) for seed, path in seeds},
    }


def _parent_run(client: Any, place: str, content: dict[str, Any], result: Path) -> str:
    """The run of an experiment with these options and inputs, independent of its seeds; updated with the result."""
    made_by = {key: content["provenance"][key] for key in ("options", "inputs")}
    key = digest({"dataset": content["dataset"], "experiment": content["experiment"], **made_by})
    found = _find(client, place, key)
    if found is None:
        run_id = _new_run(client, place, key, content["experiment"], {"earwitness.system": content["system"]})
        _log_params(client, run_id, content["provenance"]["options"])
    else:
        run_id = found.info.run_id
        if found.data.tags.get(RESULT) == sha256(result):
            return run_id
    _log_result(client, run_id, content, result)
    client.set_tag(run_id, RESULT, sha256(result))
    client.set_terminated(run_id)
    return run_id


def _seed_run(client: Any, place: str, parent: str, content: dict[str, Any], seed: int, folder: Path) -> str:
    """The run of one seed under its parent; an unfinished one of an earlier attempt is replaced."""
    key = run_key(content, folder)
    found = _find(client, place, key)
    if found is not None and found.info.status == "FINISHED":
        client.set_tag(found.info.run_id, PARENT, parent)
        return found.info.run_id
    if found is not None:
        client.delete_run(found.info.run_id)
    events = list(read_events(folder / "events.jsonl"))
    tags = {PARENT: parent, "earwitness.seed": str(seed)}
    name = f"{content['experiment']} seed {seed}"
    start = _milliseconds(events[0]) if events else None
    run_id = _new_run(client, place, key, name, tags, start=start)
    _log_params(client, run_id, content["provenance"]["options"] | {"seed": seed})
    _log_seed(client, run_id, folder, events, kinds_of(content))
    return run_id


def _experiment(client: Any, uri: str, dataset: str) -> str:
    """The id of a data set's MLflow experiment, created if needed."""
    from mlflow.exceptions import MlflowException

    # Makes MLflow show runs and curves by default, not traces of language models.
    kind = {"mlflow.experimentKind": "custom_model_development"}
    found = client.get_experiment_by_name(dataset)
    if found is None:
        try:
            return client.create_experiment(dataset, _artifacts(uri), tags=kind)
        except MlflowException:  # another job created it in between
            found = client.get_experiment_by_name(dataset)
            if found is None:
                raise
    return found.experiment_id


def _new_run(client: Any, place: str, key: str, name: str, tags: dict[str, str], start: int | None = None) -> str:
    return client.create_run(place, start_time=start, run_name=name, tags={KEY: key, **tags}).info.run_id


def _find(client: Any, place: str, key: str) -> Any:
    runs = client.search_runs([place], filter_string=f"tags.`{KEY}` = '{key}'", max_results=1)
    return runs[0] if runs else None


def _log_result(client: Any, run_id: str, content: dict[str, Any], result: Path) -> None:
    for name, metric in content["metrics"].items():
        if metric["value"] is not None:
            client.log_metric(run_id, name, metric["value"])
        for end, value in zip(("low", "high"), metric.get("ci95") or (), strict=False):
            client.log_metric(run_id, f"{name}_ci95_{end}", value)
    client.log_artifact(run_id, str(result))


def _log_seed(client: Any, run_id: str, folder: Path, events: list[dict[str, Any]], kinds: Sequence[str]) -> None:
    from mlflow.entities import Metric

    end = _milliseconds(events[-1]) if events else None
    points = []
    for event in events:
        for name, value in event.get("metrics", {}).items():
            points.append(Metric(name, value, _milliseconds(event), event["step"]))
    for kind in reversed(kinds):  # the leading kind wins for names that several kinds have
        for name, metric in read_json(folder / kind / "metrics.json")["metrics"].items():
            if metric["value"] is not None:
                points.append(Metric(name, metric["value"], end or int(time.time() * 1000), 0))
    for start in range(0, len(points), METRIC_BATCH):
        client.log_batch(run_id, metrics=points[start : start + METRIC_BATCH])
    for name in ("model.json", "events.jsonl"):
        if (folder / name).is_file():
            client.log_artifact(run_id, str(folder / name))
    for kind in kinds:
        for name in registry.kind(kind).artifacts:
            client.log_artifact(run_id, str(folder / name))
        for name in ("metrics.json", "scores.csv", PREDICTION):
            client.log_artifact(run_id, str(folder / kind / name), kind)
    client.set_terminated(run_id, end_time=end)


def _milliseconds(event: dict[str, Any]) -> int:
    """The time of an event in MLflow's unit."""
    return round(event["time"] * 1000)


def _log_params(client: Any, run_id: str, params: dict[str, Any]) -> None:
    from mlflow.entities import Param

    flat = [Param(name, str(value)[:PARAM_LENGTH]) for name, value in _flat(params)]
    for start in range(0, len(flat), 100):
        client.log_batch(run_id, params=flat[start : start + 100])


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as dotted names, lists as JSON."""
    pairs: list[tuple[str, Any]] = []
    for name, value in content.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, json.dumps(value) if isinstance(value, list) else value))
    return pairs


def _artifacts(uri: str) -> str | None:
    """The place of artifacts: beside the file of an SQLite store; None lets another store choose."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix):
        return None
    return (Path(uri.removeprefix(prefix)).resolve().parent / "mlflow-artifacts").as_uri()


def _client(uri: str) -> Any:
    # Telemetry would connect to an external host.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A server that is down should cost seconds, not minutes as with MLflow's defaults.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).resolve().parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=uri)
