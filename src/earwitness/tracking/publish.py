"""Publish finished runs to MLflow: one MLflow experiment per data set, a parent run per experiment, a child per seed.

Runs are identified by a run key, so publishing twice changes nothing. A tracking server that is down never fails a
result: the failure is recorded, and ``earwitness publish`` tries again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from earwitness import registry
from earwitness.errors import EarwitnessError
from earwitness.evaluation.result import kinds_of, validation_of
from earwitness.files import digest, read_json, sha256, write_json
from earwitness.systems.interface import PREDICTION
from earwitness.tracking.store import artifacts_of, opened
from earwitness.training.events import read_events

KEY = "earwitness.run_key"
RESULT = "earwitness.result_sha256"
BEGUN = "earwitness.result_begun"  # the digest of the result that is being logged, and the time of its metrics
PARENT = "mlflow.parentRunId"
ELSEWHERE = "earwitness.made_elsewhere"
METRIC_BATCH, PARAM_BATCH = 1000, 100  # MLflow's limits for one call
PARAM_LENGTH = 500


def publish(uri: str, result: Path, folders: Sequence[Path], out: Path) -> bool:
    """Publish an experiment's result and the runs of its seeds; record the outcome in ``out`` and return success.

    Args:
        result: the experiment's ``metrics.json``; folders: the folders of its seeds.
    """
    record: dict[str, Any] = {"result_sha256": sha256(result), "uri_scheme": uri.split(":", 1)[0]}
    try:
        with opened(uri, out) as client:
            run_ids = _publish(client, uri, result, folders)
        record |= {"published": True, "runs": run_ids}
    except Exception as error:  # tracking never fails a result
        record |= {"published": False, "reason": f"{type(error).__name__}: {error}"}
    write_json(out, record)
    return record["published"]


def publish_other(uri: str, dataset: str, name: str, folder: Path, out: Path) -> bool:
    """Publish scores made elsewhere as one run of a data set; record the outcome in ``out`` and return success.

    Args:
        folder: the folder of ``earwitness score --out``.
    """
    record: dict[str, Any] = {"folder": str(folder.resolve()), "uri_scheme": uri.split(":", 1)[0]}
    try:
        with opened(uri, out) as client:
            run_id = _other_run(client, _experiment(client, uri, dataset), dataset, name, folder)
        record |= {"published": True, "runs": {"other": run_id}}
    except Exception as error:  # tracking never fails a result
        record |= {"published": False, "reason": f"{type(error).__name__}: {error}"}
    write_json(out, record)
    return record["published"]


def runs_pages(uri: str, beside: Path) -> dict[str, str]:
    """For each data set with runs, the path of the page in MLflow that lists them.

    Args:
        beside: as of `opened`.

    Raises EarwitnessError when the store cannot be opened.
    """
    try:
        with opened(uri, beside) as client:
            found = client.search_experiments(filter_string="name != 'Default'")
    except Exception as error:  # a store may be of any kind
        raise EarwitnessError(f"MLflow's store {uri} cannot be opened: {type(error).__name__}: {error}") from error
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


def _publish(client: Any, uri: str, result: Path, folders: Sequence[Path]) -> dict[str, str]:
    content = read_json(result)
    place = _experiment(client, uri, content["dataset"])
    parent = _parent_run(client, place, content, result)
    seeds = zip(content["seeds"], folders, strict=True)
    return {
        "parent": parent,
        **{str(seed): _seed_run(client, place, parent, content, seed, path) for seed, path in seeds},
    }


def _parent_run(client: Any, place: str, content: dict[str, Any], result: Path) -> str:
    """The run of an experiment with these options and inputs, independent of its seeds; updated with the result.

    Each step can be repeated, so that a run that a kill left is completed: MLflow stores a metric with the same name,
    value and time once.
    """
    made_by = {key: content["provenance"][key] for key in ("options", "inputs")}
    key = digest({"dataset": content["dataset"], "experiment": content["experiment"], **made_by})
    run = _find(client, place, key)
    if run is None:
        tags = {f"earwitness.{name}": content[name] for name in ("system", "study") if name in content}
        run = _new_run(client, place, key, content["experiment"], tags)
    run_id, made = run.info.run_id, sha256(result)
    _log_params(client, run, made_by["options"])
    if run.data.tags.get(RESULT) != made:
        begun, _, when = run.data.tags.get(BEGUN, "").partition(" ")
        if begun != made:
            when = str(int(time.time() * 1000))
            client.set_tag(run_id, BEGUN, f"{made} {when}")
        client.log_artifact(run_id, str(result))
        client.log_batch(run_id, metrics=_metrics_of(content, int(when)))
        client.set_tag(run_id, RESULT, made)
        client.set_terminated(run_id)
    elif run.info.status != "FINISHED":
        client.set_terminated(run_id)
    return run_id


def _other_run(client: Any, place: str, dataset: str, name: str, folder: Path) -> str:
    """The run of scores made elsewhere; other scores are another run. A run that a kill left is completed."""
    from mlflow.entities import RunTag

    content, made = read_json(folder / "metrics.json"), sha256(folder / "metrics.json")
    key = digest({"dataset": dataset, "other": name, "result": made})
    run = _find(client, place, key) or _new_run(client, place, key, name, {ELSEWHERE: "true"})
    run_id = run.info.run_id
    if run.data.tags.get(RESULT) != made:
        for file in ("metrics.json", "scores.csv"):
            client.log_artifact(run_id, str(folder / file))
        client.log_batch(run_id, metrics=_metrics_of(content, run.info.start_time), tags=[RunTag(RESULT, made)])
    if run.info.status != "FINISHED":
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
    run = _new_run(client, place, key, name, tags, start=start)
    _log_params(client, run, content["provenance"]["options"] | {"seed": seed})
    number = content["seeds"].index(seed)
    chosen: dict[str, float] = {}
    for entry in content["kinds"].values():
        chosen |= entry["chosen"][number] if "chosen" in entry else {}
    _log_seed(client, run.info.run_id, folder, events, kinds_of(content), chosen)
    return run.info.run_id


def _experiment(client: Any, uri: str, dataset: str) -> str:
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


def _new_run(client: Any, place: str, key: str, name: str, tags: dict[str, str], start: int | None = None) -> Any:
    return client.create_run(place, start_time=start, run_name=name, tags={KEY: key, **tags})


def _find(client: Any, place: str, key: str) -> Any:
    runs = client.search_runs([place], filter_string=f"tags.`{KEY}` = '{key}'", max_results=1)
    return runs[0] if runs else None


def _metrics_of(content: dict[str, Any], when: int) -> list[Any]:
    """The values of a result, of validation too, and the ends of intervals, as MLflow's metrics at a time in ms."""
    from mlflow.entities import Metric

    values: dict[str, float | None] = {}
    for name, metric in content["metrics"].items():
        ends = zip((f"{name}_ci95_low", f"{name}_ci95_high"), metric.get("ci95") or (), strict=False)
        values |= {name: metric["value"], **dict(ends)}
    values |= validation_of(content)
    return [Metric(name, value, when, 0) for name, value in values.items() if value is not None]


def _log_seed(
    client: Any,
    run_id: str,
    folder: Path,
    events: list[dict[str, Any]],
    kinds: Sequence[str],
    chosen: Mapping[str, float],
) -> None:
    from mlflow.entities import Metric

    end = _milliseconds(events[-1]) if events else None
    now = end or int(time.time() * 1000)
    points = [Metric(name, value, now, 0) for name, value in chosen.items()]
    for event in events:
        for name, value in event.get("metrics", {}).items():
            points.append(Metric(name, value, _milliseconds(event), event["step"]))
    for kind in reversed(kinds):  # the leading kind wins for names that several kinds have
        for name, metric in read_json(folder / kind / "metrics.json")["metrics"].items():
            if metric["value"] is not None:
                points.append(Metric(name, metric["value"], now, 0))
    for start in range(0, len(points), METRIC_BATCH):
        client.log_batch(run_id, metrics=points[start : start + METRIC_BATCH])
    for name in ("model.json", "events.jsonl"):
        if (folder / name).is_file():
            client.log_artifact(run_id, str(folder / name))
    for kind in kinds:
        for name in registry.kind(kind).artifacts:
            client.log_artifact(run_id, str(folder / name))
        for name in ("metrics.json", "scores.csv", *registry.kind(kind).score_files, PREDICTION):
            client.log_artifact(run_id, str(folder / kind / name), kind)
    client.set_terminated(run_id, end_time=end)


def _milliseconds(event: dict[str, Any]) -> int:
    """The time of an event in MLflow's unit."""
    return round(event["time"] * 1000)


def _log_params(client: Any, run: Any, params: dict[str, Any]) -> None:
    """Log the parameters that a run lacks; those of a run never change."""
    from mlflow.entities import Param

    lacking = [Param(name, str(value)[:PARAM_LENGTH]) for name, value in _flat(params) if name not in run.data.params]
    for start in range(0, len(lacking), PARAM_BATCH):
        client.log_batch(run.info.run_id, params=lacking[start : start + PARAM_BATCH])


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as dotted names, lists as JSON."""
    pairs: list[tuple[str, Any]] = []
    for name, value in content.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            pairs.append((prefix + name, json.dumps(value) if isinstance(value, list) else value))
    return pairs
