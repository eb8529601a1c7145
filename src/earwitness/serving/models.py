"""Finds the trained models of a kind of prediction, and says which one a folder holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from earwitness import registry
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.files import read_json
from earwitness.systems.interface import Captioner, DualEncoder, Grounder, load, options_of, weights_digest


def seed_folder(
    results: Path,
    experiment: str | None,
    dataset: str | None = None,
    seed: int | None = None,
    kind: str = "retrieval",
) -> Path:
    """The folder of a trained experiment of a kind of prediction.

    ``experiment`` may be None where there is only one, and ``dataset`` where one alone has the experiment; without
    ``seed`` it is the lowest that is trained.

    Raises EarwitnessError that lists the trained experiments when it is none of them.
    """
    there = list(trained(results, kind))
    found = [
        folder
        for folder in there
        if experiment in (None, folder.parent.name) and dataset in (None, folder.parents[1].name)
        and seed in (None, _seed(folder))
    ]  # fmt: skip
    if len({folder.parent for folder in found}) == 1:
        return min(found, key=_seed)
    if experiment is None and (found or not there):
        raise none_given(results, kind)
    datasets = sorted({folder.parents[1].name for folder in found})
    if datasets:
        raise EarwitnessError(f"{experiment} is trained on {' and '.join(datasets)}: choose one with `--dataset NAME`.")
    asked = "/".join([dataset or "*", experiment or "*", f"seed-{'*' if seed is None else seed}"])
    heading = f"{results / asked} is no trained {kind} experiment."
    raise EarwitnessError(listed(heading, *_choices(results, kind, there)))


def none_given(results: Path, kind: str = "retrieval") -> EarwitnessError:
    """The error of a command that was not told with which model."""
    heading = "Which model? Give `--experiment NAME` or `--model FOLDER`."
    return EarwitnessError(listed(heading, *_choices(results, kind)))


def trained(results: Path, kind: str = "retrieval") -> Iterator[Path]:
    """The seeds' folders of the trained experiments of a kind of prediction below ``results``."""
    for path in sorted(results.glob("*/*/seed-*/model.json")):
        content = read_json(path)
        entry = registry.SYSTEMS.get(str(content.get("system"))) if isinstance(content, dict) else None
        if entry and kind in registry.load(entry.options).KINDS and path.parent.name[5:].isdecimal():
            yield path.parent


def identity(folder: Path) -> dict[str, Any]:
    """What makes a model the same one wherever its folder lies: system, digest of the weights, and settings.

    Raises EarwitnessError for a folder without a model.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 (Path's own fails for long names)
        problem = "is a file" if os.path.exists(folder) else "does not exist"  # noqa: PTH110
        raise EarwitnessError(f"The model's folder {folder} {problem}; a folder is like results/mini/NAME/seed-0.")
    weights = folder / "model.safetensors"
    if (folder / "model.json").is_file() and not weights.is_file():
        raise EarwitnessError(f"{weights} does not exist; copy the whole folder of the seed.")
    options = options_of(folder)
    digest = weights_digest(folder) if weights.is_file() else None
    return {"system": options.system, "weights": digest, "settings": options.settings("prediction", "json")}


def require_same(path: Path, indexed: Mapping[str, Any], folder: Path, advice: str) -> None:
    """Raise MismatchError when the model in ``folder`` is not the one that an index was made by."""
    now = identity(folder)
    if any(indexed.get(key) != value for key, value in now.items()):
        was, settings = indexed.get("folder"), list(_differing(indexed.get("settings"), now["settings"]))
        by = "an earlier model there" if was == str(folder.resolve()) else f"the model in {was}"
        if indexed.get("system") != now["system"]:
            settings = [f"system: {indexed.get('system')} and {now['system']}"]
        what = f"they differ in {'; '.join(settings)}" if settings else "they have the same settings and other weights"
        raise MismatchError(f"{path} was made by {by}, and {folder} has another one: {what}. {advice}")


def load_dual_encoder(folder: Path) -> DualEncoder:
    """The model of a seed's folder. Raises EarwitnessError when it does not embed clips and texts apart."""
    model = load(folder)
    if not isinstance(model, DualEncoder):
        system = options_of(folder).system
        raise EarwitnessError(
            f"{folder} cannot be searched with: the system {system} does not embed clips and texts in one space "
            f"({type(model).__name__} is no DualEncoder). Give a retrieval experiment that does."
        )
    return model


def load_grounder(folder: Path) -> Grounder:
    """The model of a seed's folder. Raises EarwitnessError when it does not locate texts in clips."""
    return _loaded(folder, Grounder, "locate phrases", "grounding")


def load_captioner(folder: Path) -> Captioner:
    """The model of a seed's folder. Raises EarwitnessError when it does not describe clips."""
    return _loaded(folder, Captioner, "caption recordings", "captioning")


def _loaded(folder: Path, interface: Any, ability: str, kind: str) -> Any:
    identity(folder)  # says what is wrong with a folder without a model
    options = options_of(folder)
    if kind not in options.KINDS:
        raise EarwitnessError(
            f"{folder} cannot {ability}: the system {options.system} is for {' and '.join(options.KINDS)}. "
            f"Give a {kind} experiment."
        )
    model = load(folder)
    if not isinstance(model, interface):
        raise EarwitnessError(
            f"{folder} cannot {ability}: the model of the system {options.system} is no {interface.__name__} "
            f"({type(model).__name__}). Give a {kind} experiment."
        )
    return model


def _choices(results: Path, kind: str, there: list[Path] | None = None) -> tuple[list[str], str]:
    found = list(trained(results, kind)) if there is None else there
    names = [f"--experiment {path.parent.name} --dataset {path.parents[1].name} --seed {_seed(path)}" for path in found]
    advice = f"These are the trained ones in {results}." if names else f"There is none in {results} yet."
    return names, advice


def _seed(folder: Path) -> int:
    return int(folder.name.removeprefix("seed-"))


def _differing(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """The settings in which two models differ, by their dotted keys."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            yield from _differing(one.get(key), other.get(key), f"{place}.{key}" if place else key)
    elif one != other:
        yield f"{place}: {one} and {other}"
