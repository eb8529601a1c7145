"""The prediction stage: one kind of prediction with the model of one seed, on the evaluation split."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from earwitness import registry
from earwitness.corpora.tables import clips_of
from earwitness.evaluation.interface import SPLIT
from earwitness.files import provenance, write_json
from earwitness.options import ExperimentOptions, Use
from earwitness.prediction.clips import Clips
from earwitness.systems.interface import PREDICTION, Model, system_class


def predict(
    options: ExperimentOptions,
    kind: str,
    files: Mapping[str, Path],
    corpus: Path,
    folder: Path,
    threads: int,
    seed: int = 0,
) -> None:
    """Predict, and write the kind's files and ``{kind}/prediction.json`` with their provenance.

    Args:
        files: inputs by name, as ``options.prediction_inputs()`` names them.
        corpus: the folder with the corpus' tables.
        folder: the seed's folder, with the model if the system is trained.
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    model = system_class(options.system).load(options, folder, files)
    made_by = model.made_by if isinstance(model, Model) else {}
    uses = options.prediction_inputs()
    features = {n: files[n] for n, use in uses.items() if _is_predicted(use)}
    clips = Clips.of(clips_of(corpus / "clips.csv", SPLIT, "prediction"), features, made_by)
    registry.kind(kind).predict(model, clips, corpus, folder)
    for remark in model.remarks() if isinstance(model, Model) else ():
        print(remark, file=sys.stderr)
    inputs = dict(files)
    if options.TRAINED:
        inputs |= {"weights": folder / "model.safetensors"}
    content = {
        "system": options.system,
        "options": options.settings("prediction"),
        "seed": seed,
        "provenance": provenance("predict", inputs, kind=kind),
    }
    if isinstance(model, Model) and model.chosen:
        content["chosen"] = dict(model.chosen)
    write_json(folder / kind / PREDICTION, content)


def _is_predicted(use: Use) -> bool:
    """Whether a file holds features of the clips that are predicted; others are the system's business."""
    return use.stage == "features" and use.file == f"{SPLIT}.h5" and use.dataset is None
