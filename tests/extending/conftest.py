"""The toys, put into a copy of the repository as docs/extending.md says, and run through the real DAG once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TOYS = HERE / "toys"  # laid out as src/earwitness
PARTS = ("src", "rules", "workflow", "config", "profiles", "envs")
CONFIGS = (ROOT / "tests/workflow/tiny.yaml", HERE / "toys.yaml")
PAGE = "results/tones/comparison.html"
RATE = 16000
NOUNS = {"beep": 1000, "hum": 120, "whistle": 3500}  # Hz
CLIPS = {"development": 18, "validation": 6, "evaluation": 9}


def registry_lines() -> Iterator[tuple[str, str]]:
    """The one line that each toy has outside its module, with the registry that it stands in."""
    registry = ""
    for line in (HERE / "registry.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            yield registry, line
        else:
            registry = line


class Copy:
    """A copy of the repository with the toys in it, where the DAG runs."""

    def __init__(self, folder: Path):
        self.folder = folder
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        shutil.copy(ROOT / "Snakefile", folder)
        shutil.copytree(TOYS, folder / "src/earwitness", dirs_exist_ok=True)
        path = folder / "src/earwitness/registry.py"
        lines = path.read_text(encoding="utf-8").splitlines()
        for registry, line in registry_lines():
            lines.insert(lines.index("}", lines.index(f"{registry} = {{")), line)
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")

    def __truediv__(self, path: str) -> Path:
        return self.folder / path

    def snakemake(self, *targets: str) -> str:
        """Run the copy's DAG on two cores and return what was printed."""
        profile = ["--workflow-profile", "profiles/default"]
        return self.python("-m", "snakemake", *targets, "--cores", "2", *profile, "--configfile", *map(str, CONFIGS))

    def python(self, *arguments: str) -> str:
        """Run Python with the copy's library."""
        inherited = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=inherited | {"PYTHONPATH": str(self.folder / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout + done.stderr


def write_tones(folder: Path) -> None:
    """A data set in the layout of the toy: each clip has one tone in faint noise, said in two captions."""
    folder.mkdir()
    table, generator = [], np.random.default_rng(0)
    for split, count in CLIPS.items():
        for number in range(count):
            noun, (onset, offset) = list(NOUNS)[number % len(NOUNS)], (0.3, 0.9)
            seconds = np.arange(round(1.2 * RATE)) / RATE
            sounding = (onset <= seconds) & (seconds < offset)
            wave = 0.01 * generator.standard_normal(len(seconds))
            wave += 0.3 * sounding * np.sin(2 * np.pi * NOUNS[noun] * (1 + 0.02 * generator.random()) * seconds)
            file = f"{split}-{number}.wav"
            soundfile.write(folder / file, wave, RATE)
            texts = [f"a short {noun} sounds", f"someone hears one {noun} far away"]
            phrase = {"words": [0, 3], "events": [[onset, offset]]}
            captions = [{"text": text, "phrases": [phrase] if text == texts[0] else []} for text in texts]
            table.append({"file": file, "split": split, "captions": captions})
    (folder / "tones.json").write_text(json.dumps(table), encoding="utf-8")


@pytest.fixture(scope="session")
def copy(tmp_path_factory) -> Copy:
    """The copy, before anything is run."""
    copy = Copy(tmp_path_factory.mktemp("extended") / "earwitness")
    write_tones(copy / "tones")
    return copy


@pytest.fixture(scope="session")
def run(copy) -> tuple[Copy, str]:
    """The copy with all results of the toys, and what Snakemake printed."""
    return copy, copy.snakemake(PAGE)
