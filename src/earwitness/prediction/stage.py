"""Prediction as a stage: from a trained model to ``captions.csv`` (clip_id, caption, score) of the evaluation split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from earwitness import registry
from earwitness.corpora.tables import clips_of, write_table
from earwitness.files import read_json
from earwitness.options import ExperimentOptions

PREDICTIONS = ["clip_id", "caption", "score"]


def predict(
    options: ExperimentOptions, model: Path, description: Path, files: Mapping[str, Path], out: Path, threads: int
) -> None:
    """Caption every clip of the evaluation split; ``files`` as ``options.prediction_inputs()`` names them."""
    torch.set_num_threads(threads)
    task = registry.load(registry.SYSTEMS[options.system].implementation)
    made = task.predict(options, read_json(description)["network"], load_file(model), files)
    total = len(clips_of(files["clips"], "evaluation", "captioning"))
    rows = list(tqdm(made, total=total, desc="Captioning", unit="clip", mininterval=1))
    write_table(out, pd.DataFrame(rows, columns=PREDICTIONS))
