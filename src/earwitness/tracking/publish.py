"""Publish finished runs to MLflow: one MLflow experiment per data set, a parent run per experiment, a child per seed.

Runs are identified by a run key, so publishing twice changes nothing. A tracking server that is down never fails a
result: the failure is recorded, and ``earwitness publish`` tries again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from earwitness import registry
from earwitness.errors import EarwitnessError
from earwitness.evaluation.result import kinds_of, validation_of
from earwitness.files import digest, read_json, sha256, write_json
from earwitness.systems.interface import PREDICTION
from earwitness.tracking.runs import (
    KEY,
    TRAINING,
    TrainingRun,
    find,
    log_inputs,
    log_params,
    milliseconds,
    new_run,
    now,
    place_of,
    training_key,
)
from earwitness.tracking.store import opened
from earwitness.training.events import read_events

RESULT = "earwitness.result_sha256"
BEGUN = "earwitness.result_begun"  # the digest of the result that is being logged, and the time of its metrics
PLOTS = "earwitness.plots_sha256"
PARENT = "mlflow.parentRunId"
ELSEWHERE = "earwitness.made_elsewhere"


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
            run_id = _other_run(client, place_of(client, uri, dataset), dataset, name, folder)
        record |= {"published": True, "runs": {"other": run_id}}
    except Exception as error:  # tracking never fails a result
        record |= {"published": False, "reason": f"{type(error).__name__}: {error}"}
    write_json(out, record)
    return record["published"]


def publish_plots(uri: str, folder: Path) -> bool:
    """Add the plots of a data set's page to the runs of its experiments; returns whether any of them lacked these.

    Args:
        folder: the folder ``results/{dataset}``, with ``plots``.

    Raises what the store raises.
    """
    plots = sorted((folder / "plots").glob("*.svg"))
    made, added = digest({path.name: sha256(path) for path in plots}), False
    with opened(uri, folder / "plots") as client:
        for result in sorted(folder.glob("*/metrics.json")):
            content = read_json(result)
            place = client.get_experiment_by_name(content["dataset"])
            for run in find(client, place.experiment_id, KEY, _parent_key(content)) if place else ():
                if run.data.tags.get(PLOTS) == made:
                    continue
                for path in plots:
                    client.log_artifact(run.info.run_id, str(path), "plots")
                client.set_tag(run.info.run_id, PLOTS, made)
                added = True
    return added


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
    place = place_of(client, uri, content["dataset"])
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
    key = _parent_key(content)
    run = next(iter(find(client, place, KEY, key)), None)
    if run is None:
        tags = {f"earwitness.{name}": content[name] for name in ("system", "study") if name in content}
        run = new_run(client, place, content["experiment"], {KEY: key, **tags})
    run_id, made = run.info.run_id, sha256(result)
    log_params(client, run, content["provenance"]["options"])
    if run.data.tags.get(RESULT) != made:
        begun, _, when = run.data.tags.get(BEGUN, "").partition(" ")
        if begun != made:
            when = str(now())
            client.set_tag(run_id, BEGUN, f"{made} {when}")
        client.log_artifact(run_id, str(result))
        client.log_batch(run_id, metrics=_metrics_of(content, int(when)))
        client.set_tag(run_id, RESULT, made)
        client.set_terminated(run_id)
    elif run.info.status != "FINISHED":
        client.set_terminated(run_id)
    return run_id


def _parent_key(content: Mapping[str, Any]) -> str:
    made_by = {key: content["provenance"][key] for key in ("options", "inputs")}
    return digest({"dataset": content["dataset"], "experiment": content["experiment"], **made_by})


def _other_run(client: Any, place: str, dataset: str, name: str, folder: Path) -> str:
    """The run of scores made elsewhere; other scores are another run. A run that a kill left is completed."""
    content, made = read_json(folder / "metrics.json"), sha256(folder / "metrics.json")
    key = digest({"dataset": dataset, "other": name, "result": made})
    run = next(iter(find(client, place, KEY, key)), None)
    run = run or new_run(client, place, name, {KEY: key, ELSEWHERE: "true"})
    run_id = run.info.run_id
    if run.data.tags.get(RESULT) != made:
        for file in ("metrics.json", "scores.csv"):
            client.log_artifact(run_id, str(folder / file))
        client.log_batch(run_id, metrics=_metrics_of(content, run.info.start_time), tags=[_tag(RESULT, made)])
    if run.info.status != "FINISHED":
        client.set_terminated(run_id)
    return run_id


def _seed_run(client: Any, place: str, parent: str, content: dict[str, Any], seed: int, folder: Path) -> str:
    """The run of one seed under its parent: that which showed its training, if there is one; a new one by default."""
    key = run_key(content, folder)
    run = next(iter(find(client, place, KEY, key)), None)
    if run is not None and run.info.status == "FINISHED":
        client.set_tag(run.info.run_id, PARENT, parent)
        return run.info.run_id
    events = list(read_events(folder / "events.jsonl"))
    tags = {KEY: key, PARENT: parent, "earwitness.seed": str(seed)}
    if (folder / "model.json").is_file():
        model = read_json(folder / "model.json")["run_key"]
        tags[TRAINING] = training_key(content["dataset"], content["experiment"], model)
        if run is None:
            run = next((one for one in find(client, place, TRAINING, tags[TRAINING]) if KEY not in one.data.tags), None)
    if run is None:
        start = milliseconds(events[0]) if events else None
        run = new_run(client, place, f"{content['experiment']} seed {seed}", tags, start)
    elif KEY not in run.data.tags:
        client.update_run(run.info.run_id, "RUNNING")
        client.log_batch(run.info.run_id, tags=[_tag(*tag) for tag in tags.items()])
    log_params(client, run, content["provenance"]["options"] | {"seed": seed})
    number = content["seeds"].index(seed)
    chosen: dict[str, float] = {}
    for entry in content["kinds"].values():
        chosen |= entry["chosen"][number] if "chosen" in entry else {}
    _log_seed(client, client.get_run(run.info.run_id), folder, events, content, chosen)
    return run.info.run_id


def _tag(name: str, value: str) -> Any:
    from mlflow.entities import RunTag

    return RunTag(name, value)


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
    run: Any,
    folder: Path,
    events: list[dict[str, Any]],
    content: dict[str, Any],
    chosen: Mapping[str, float],
) -> None:
    run_id, kinds = run.info.run_id, kinds_of(content)
    end = milliseconds(events[-1]) if events else run.info.start_time
    training = TrainingRun(client, run)
    if events:
        training.add(client, events)
    scored = {kind: read_json(folder / kind / "metrics.json") for kind in kinds}
    values = dict(chosen)
    for kind in reversed(kinds):  # the leading kind wins for names that several kinds have
        metrics = scored[kind]["metrics"]
        values |= {name: metric["value"] for name, metric in metrics.items() if metric["value"] is not None}
    training.points(client, [(name, value, end, 0) for name, value in values.items()])
    log_inputs(client, run_id, {(content["dataset"], "evaluation"): _evaluated_on(scored)})
    client.log_dict(run_id, content["provenance"]["options"], "options.yaml")
    for name in ("model.json", "events.jsonl"):
        if (folder / name).is_file():
            client.log_artifact(run_id, str(folder / name))
    for kind in kinds:
        for name in registry.kind(kind).artifacts:
            client.log_artifact(run_id, str(folder / name))
        for name in ("metrics.json", "scores.csv", *registry.kind(kind).score_files, PREDICTION):
            client.log_artifact(run_id, str(folder / kind / name), kind)
    training.state(client, "FINISHED", None, end if events else None)


def _evaluated_on(scored: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Digests of what predictions were held against: the ids of the clips, and the references of each kind."""
    found: dict[str, str] = {}
    for kind, content in scored.items():
        if (ids := content.get("counts", {}).get("ids_sha256")) is not None:
            found["clip ids"] = ids
        if (references := content.get("provenance", {}).get("inputs", {}).get("references")) is not None:
            found[f"references of {kind}"] = references
    return found
