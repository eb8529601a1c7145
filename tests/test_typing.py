"""The type checker holds further systems, extractors and kinds of prediction to their interfaces."""

from __future__ import annotations

import subprocess
import sys

from tests.places import ROOT

RIGHT = """
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from earwitness.evaluation.interface import Kind
from earwitness.evaluation.scores import Scored
from earwitness.extractors.interface import Extractor
from earwitness.metrics.captions import Tools
from earwitness.options import ExperimentOptions
from earwitness.prediction.clips import Clips
from earwitness.report.interface import Experiment, KindPage
from earwitness.systems.interface import Captioner, Grounder, Retriever, System
from earwitness.training.schedules import Moment


class ToyOptions(ExperimentOptions):
    words: int = 3


class Toy(System[ToyOptions]):
    def __init__(self, options: ToyOptions, files: Mapping[str, Path], seed: int, tools: Tools) -> None:
        self.options = options

    def learning_rate(self, moment: Moment) -> float:
        return 0.1 / (1 + moment.epoch)

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": batch.sum()}

    @classmethod
    def load(cls, options: ToyOptions, folder: Path, files: Mapping[str, Path]) -> Captioner:
        return ToyModel("dog " * options.words)


class ToyModel(Captioner, Retriever, Grounder):
    hop = 0.5

    def __init__(self, text: str) -> None:
        self.text = text

    def caption(self, clips: Clips) -> Iterator[tuple[str, float]]:
        return ((self.text, 0.0) for _ in clips.ids)

    def similarity(self, clips: Clips, texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), len(clips)))

    def activations(self, clips: Clips, queries: Sequence[tuple[str, str]]) -> Iterator[np.ndarray]:
        return (np.zeros(2) for _ in queries)


class ToyExtractor(Extractor):
    sample_rate, dimension, hop, window_seconds = 16000, 1, 16000, 1.0

    def frames(self, waveforms: np.ndarray) -> np.ndarray:
        return waveforms.mean(axis=1)[:, None, None]


class ToyKind(Kind):
    name, label, files = "toy", "Toys", ("toy.csv",)

    def predict(self, model: ToyModel, clips: Clips, corpus: Path, folder: Path) -> None:
        (folder / "toy.csv").write_text(model.text)

    def score(self, folder: Path, corpus: Path, tools: Tools, options: Mapping[str, Any]) -> Scored:
        raise NotImplementedError


class ToyPage(KindPage):
    def facts(self, experiment: Experiment) -> list[str]:
        return [experiment.name]
"""
WRONG = {  # what a method has, and what it has in its place
    "caption": ("def caption(self, clips: Clips) -> Iterator[tuple[str, float]]:", "-> Iterator[", "-> list["),
    "learning_rate": ("def learning_rate(self, moment: Moment)", "moment: Moment", "epoch: int"),
    "load": ("def load(cls, options: ToyOptions", "ToyOptions", "int"),
    "similarity": ("def similarity(self, clips: Clips, texts: Sequence[str])", ", texts: Sequence[str]", ""),
    "frames": ("def frames(self, waveforms: np.ndarray)", "np.ndarray", "Tensor"),
    "score": ("tools: Tools, options: Mapping[str, Any]) -> Scored:", "Scored", "float"),
    "facts": ("def facts(self, experiment: Experiment) -> list[str]:", "list[str]", "str"),
}


def test_what_keeps_to_the_interfaces_passes_and_what_breaks_them_is_refused(tmp_path):
    """One run for all of them: the cache that `make lint` leaves makes it short, and so its folder is the same."""
    (tmp_path / "right.py").write_text(RIGHT)
    for method, (line, right, wrong) in WRONG.items():
        assert RIGHT.count(line) == 1 and line.count(right) == 1
        (tmp_path / f"wrong_{method}.py").write_text(RIGHT.replace(line, line.replace(right, wrong)))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, sorted(tmp_path.glob("*.py")))],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "right.py" not in done.stdout, done.stdout
    for method in WRONG:
        found = [line for line in done.stdout.splitlines() if f"wrong_{method}.py" in line and "error:" in line]
        assert any(f'"{method}"' in line and "[override]" in line for line in found), done.stdout + done.stderr
