"""Trained models in MLflow's registry, from where ``mlflow models serve`` serves them.

A version holds all that it needs but Python packages and frozen text models: the seed's model, the index, the weights
of extractors, the retriever that made its features, and the library itself, which is on no package index.
"""

from __future__ import annotations

import base64
import csv
import io
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from earwitness.clap.retriever import FILES
from earwitness.errors import EarwitnessError
from earwitness.files import code_version, digest, read_json, sha256
from earwitness.serving.models import identity
from earwitness.serving.recordings import BLOCK, Features, retriever_options
from earwitness.serving.served import INPUTS, OUTPUTS, PARAMETERS, Served
from earwitness.systems.interface import PREDICTION, options_of
from earwitness.tracking.publish import publish
from earwitness.tracking.store import opened, without_password

KEY = "earwitness.served_sha256"  # digest of all that a version was made of
CODE = Path(__file__).with_name("pyfunc.py")
PACKAGES = (  # what serving imports, of some kinds of models
    "mlflow", "torch", "numpy", "scipy", "pandas", "h5py", "safetensors", "pydantic", "pyyaml", "librosa", "soundfile",
    "soxr", "av", "matplotlib", "gensim", "simplemma", "symspellpy", "tqdm", "psutil", "lightning", "requests",
    "pyarrow", "transformers", "tokenizers", "sentence-transformers",
)  # fmt: skip


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, and whether it was there before."""

    name: str
    version: str
    run: str
    before: bool

    @property
    def uri(self) -> str:
        """What ``mlflow models serve -m`` takes."""
        return f"models:/{self.name}/{self.version}"


def register(
    uri: str, folder: Path, name: str | None = None, index: Path | None = None, weights: Sequence[Path] = ()
) -> Registered:
    """Log the model of a seed's folder in the run of that seed, and register it; no new version of what is there.

    The run is published first where it is not in the store. A kill leaves no version, or a complete one; a
    rerun goes on with what it has logged.

    Args:
        uri: MLflow's store.
        folder: such as ``results/mini/cl4ac/seed-0``.
        name: of the registered model; None: data set and experiment, such as ``mini-cl4ac``.
        index: an index by this model, of a retriever.
        weights: files of extractors' weights, where they are not in resources/checkpoints.

    Raises EarwitnessError for a folder without a trained model, or without its experiment's ``metrics.json``; an index
    of another model; weights that are not here; a store that cannot be used.
    """
    experiment = folder.resolve().parent
    name = f"{experiment.parent.name}-{experiment.name}" if name is None else name
    if not name.strip() or any(mark in name for mark in "/:'"):
        raise EarwitnessError(f"The name {name!r} cannot be used: a model's name here has no `/`, no `:` and no `'`.")
    known = identity(folder)
    if known["weights"] is None or not options_of(folder).TRAINED:
        raise EarwitnessError(f"{folder} has nothing to register: the system {known['system']} is not trained.")
    if not (experiment / "metrics.json").is_file():
        target = "/".join((experiment / "metrics.json").parts[-4:])
        raise EarwitnessError(f"{experiment} has no metrics.json, whose run the model belongs to: make {target} first.")
    features = Served(folder, index, weights).features
    try:
        with tempfile.TemporaryDirectory(prefix="earwitness-") as scratch:
            artifacts = staged(Path(scratch), folder, features, index)
            try:  # the copies, as a training may replace the files meanwhile
                served = Served.of(artifacts, _place(folder))
            except EarwitnessError as error:
                reason = str(error).replace(f"{artifacts['results'] / _place(folder)}", str(folder))
                raise EarwitnessError(f"{folder} changed while it was copied: {reason}") from error
            example = example_of(served, experiment.parent / "corpus")
            served.answer([example])  # what cannot be answered here cannot be elsewhere
            return _registered(uri, folder, name, served, artifacts, example)
    except EarwitnessError:
        raise
    except Exception as error:  # a store may be of any kind
        reason = f"{type(error).__name__}: {error}".replace(uri, shown := without_password(uri))
        raise EarwitnessError(f"{folder} cannot be registered in MLflow's store {shown}: {reason}") from error


def _registered(
    uri: str,
    folder: Path,
    name: str,
    served: Served,
    artifacts: Mapping[str, Path],
    example: Mapping[str, str],
) -> Registered:
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    files = {
        f"{part}/{path.relative_to(artifact)}": sha256(path)
        for part, artifact in artifacts.items()
        for path in sorted(artifact.rglob("*"))
        if path.is_file()
    }
    key = digest({"files": files, "code": code_version(), "packages": requirements()})
    run, record = _run_of(uri, folder), folder.resolve().with_name("tracking.json")
    with opened(uri, record) as client:
        if there := _version(client, name, key):
            return there
        logged = _logged_model(client, run, name, key)
    if str(logged.status) != "READY":  # the store is not held meanwhile, as this takes time
        with tempfile.TemporaryDirectory(prefix="earwitness-") as scratch:
            model = Model(run_id=run, model_id=logged.model_id, artifact_path=logged.artifact_location)
            save(Path(scratch) / "model", folder, served, artifacts, example, model)
            client.log_model_artifacts(logged.model_id, f"{scratch}/model")
    with opened(uri, record) as client:
        client.finalize_logged_model(logged.model_id, "READY")
        outputs = client.get_run(run).outputs
        if logged.model_id not in {one.model_id for one in (outputs.model_outputs if outputs else ())}:
            client.log_outputs(run, [LoggedModelOutput(logged.model_id, step=0)])
        if there := _version(client, name, key):  # by another process
            return there
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # Without a server, MLflow 3.17 looks a `models:/` source up in another store than the client's.
        source = f"models:/{logged.model_id}" if uri.startswith("http") else logged.artifact_location
        made = client.create_model_version(name, source, run, tags={KEY: key}, model_id=logged.model_id)
        return Registered(name, str(made.version), run, False)


def _version(client: Any, name: str, key: str) -> Registered | None:
    """The version of a registered model that was made of the same."""
    found = (one for one in client.search_model_versions(f"name = '{name}'") if one.tags.get(KEY) == key)
    return next((Registered(name, str(one.version), str(one.run_id), True) for one in found), None)


def _logged_model(client: Any, run: str, name: str, key: str) -> Any:
    """MLflow's LoggedModel of a run that is made of the same, such as one that a kill left unfinished, or a new one."""
    experiment = client.get_run(run).info.experiment_id
    there = client.search_logged_models(experiment_ids=[experiment], filter_string=f"tags.`{KEY}` = '{key}'")
    return next((one for one in there if one.source_run_id == run), None) or client.create_logged_model(
        experiment, name, source_run_id=run, model_type="earwitness", tags={KEY: key}
    )


def requirements() -> list[str]:
    """The packages that serving needs, as pip takes them, in the versions of this environment."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package}=={version(package).partition('+')[0]}")  # of torch, without the kind of its build
        except PackageNotFoundError:
            continue
    return found


def _run_of(uri: str, folder: Path) -> str:
    """The id of a seed's run in the store, where its experiment is published if it is not."""
    result = folder.parent / "metrics.json"
    seeds = read_json(result)["seeds"]
    number = int(folder.resolve().name.removeprefix("seed-"))
    if number not in seeds:
        known = ", ".join(map(str, seeds))
        raise EarwitnessError(f"{result} is of the seeds {known}, not of {number}: make it again with this seed.")
    with tempfile.TemporaryDirectory(prefix="earwitness-") as scratch:
        record = Path(scratch) / "tracking.json"
        if not publish(uri, result, [result.with_name(f"seed-{seed}") for seed in seeds], record):
            raise EarwitnessError(
                f"{result} cannot be published to MLflow's store {without_password(uri)}: {read_json(record)['reason']}"
            )
        return str(read_json(record)["runs"][str(number)])


def staged(scratch: Path, folder: Path, features: Features | None, index: Path | None) -> dict[str, Path]:
    """The artifacts of a version by name: copies of the model's folder, and of what else it needs, as below results."""
    place = scratch / "results" / _place(folder)
    files = {place / name: folder / name for name in FILES.values()}
    files |= {place / path.relative_to(folder): path for path in folder.glob(f"*/{PREDICTION}")}
    if features is not None:
        for name, retriever in features.retrievers.items():
            other = retriever_options(features.made_by[name]).below(scratch / "results")
            files |= {other / file: retriever.folder / file for file in FILES.values()}
        for options in features.options.values():
            for path in getattr(options, "checkpoints", dict)().values():
                files[scratch / "weights" / sha256(path) / path.name] = path
    if index is not None:
        files[scratch / "index" / "index.h5"] = index
    for copy, path in files.items():  # MLflow refuses links
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return {path.name: path for path in sorted(scratch.iterdir())}


def _place(folder: Path) -> str:
    """Where a seed's folder lies below its results: ``{dataset}/{experiment}/seed-{n}``."""
    return "/".join(folder.resolve().parts[-3:])


def save(
    out: Path,
    folder: Path,
    served: Served,
    artifacts: Mapping[str, Path],
    example: Mapping[str, str],
    model: Any = None,
) -> None:
    """Write a folder that ``mlflow models serve -m`` takes.

    Args:
        folder: the seed's folder; served: its model.
        artifacts: as of ``staged``.
        example: a row of a request.
        model: MLflow's Model, where it belongs to a run.
    """
    import pandas as pd
    from mlflow.pyfunc import save_model

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    save_model(
        path=str(out),
        python_model=str(CODE),
        artifacts={name: str(path) for name, path in artifacts.items()},
        model_config={"model": _place(folder), "batch": BLOCK},
        code_paths=[str(CODE.parents[1])],
        pip_requirements=requirements(),
        signature=_signature(served),
        input_example=pd.DataFrame([example]),
        mlflow_model=model,
    )
    for cache in out.rglob("__pycache__"):
        shutil.rmtree(cache)


def example_of(served: Served, corpus: Path) -> dict[str, str]:
    """A row that the model can answer: one second of a tone, and the first caption of the corpus."""
    columns = INPUTS[served.tasks[-1]]
    example = {}
    if "audio" in columns:
        sound = io.BytesIO()
        soundfile.write(sound, 0.1 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000), 16000, format="FLAC")
        example["audio"] = base64.b64encode(sound.getvalue()).decode()
    for column in columns[-1:] if columns[-1] != "audio" else ():
        table = corpus / "captions.csv"
        with table.open(encoding="utf-8", newline="") if table.is_file() else io.StringIO() as file:
            example[column] = next(csv.DictReader(file), {"text": "a dog barks"})["text"]
    return example


def _signature(served: Served) -> Any:
    """The columns of requests and replies, and the parameters, as MLflow has them."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, Object, Property

    text, number, yes = DataType.string, DataType.double, DataType.boolean
    hit = Object([Property("path", text), Property("similarity", number)])
    event = Object([Property(name, number) for name in ("onset", "offset", "peak", "activation")])
    kinds: dict[str, Any] = {
        "caption": text, "cut": yes, "picture": text, "error": text,
        "results": Array(hit), "events": Array(event), "activation": Array(number), "unknown": Array(text),
    }  # fmt: skip
    inputs = dict.fromkeys(column for task in served.tasks for column in INPUTS[task])
    outputs = dict.fromkeys([column for task in served.tasks for column in OUTPUTS[task]] + ["error"])
    parameters = {name: value for task in served.tasks for name, value in PARAMETERS[task].items()}
    needed = [column for column in inputs if all(column in INPUTS[task] for task in served.tasks)]
    params = [
        ParamSpec(key, yes if isinstance(value, bool) else DataType.long, value) for key, value in parameters.items()
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(text, name, required=name in needed) for name in inputs]),
        outputs=Schema([ColSpec(kinds.get(name, number), name, required=False) for name in outputs]),
        params=ParamSchema(params) if params else None,
    )
