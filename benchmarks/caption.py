"""``earwitness caption`` on many recordings in one call against a call for each; and its memory.

calls   100 recordings of 10 s: one process, against one for each, which starts Python and loads the model. Single calls
        are measured on the first ``--sample`` recordings, and their mean is taken; it stops if captions differ.
memory  peak memory of a process that captions 100 recordings, and of one that captions 400 (Linux).

Recordings are synthesised: noise, each with a spectrum and a loudness of its own. The model is a CL4AC of mini's size
with random weights, which reads 10 s. ``--channels`` makes a wider one, and ``--model`` names the folder of a trained
one; where that reads less, ``--cut`` lets both sides caption the beginning.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from common import Row, Side, from_command_line, machine, say, table
from memory import LIMIT, peak_of
from retrieval import words_of
from safetensors.torch import save_file

from earwitness.extractors.logmel import LogMelOptions
from earwitness.files import sha256, write_json
from earwitness.options import VocabularyOptions
from earwitness.serving.captioning import Captioned, FileCaptioner
from earwitness.systems.cl4ac.network import Cl4ac, Sizes
from earwitness.systems.cl4ac.options import Cl4acOptions
from earwitness.systems.interface import MODEL_SCHEMA
from earwitness.text.vocabulary import Vocabulary

PARTS = ("calls", "memory")
LABELS = {"calls": "one call, against a call each"}
EXPECTED = {"calls": 5.0}
SECONDS, RATE = 10.0, 44100
CHANNELS = (8, 16, 32, 64)  # of mini's encoder
FEW, MANY = 100, 400


def make_recordings(folder: Path, number: int, seconds: float = SECONDS) -> list[Path]:
    """So many recordings of noise, wav with 16 bits."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for place in range(number):
        rng = np.random.default_rng(place)
        white = np.fft.rfft(rng.normal(0, 1, round(seconds * RATE)))
        spectrum = np.interp(np.linspace(0, 8, len(white)), range(9), rng.normal(0, 2, 9))
        samples = np.fft.irfft(white * np.exp(spectrum))
        path = folder / f"{place:04d}.wav"
        soundfile.write(path, samples * rng.uniform(0.05, 0.9) / np.abs(samples).max(), RATE)
        paths.append(path)
    return paths


def make_model(folder: Path, channels: Sequence[int], seconds: float = SECONDS) -> Path:
    """A seed's folder with an untrained CL4AC."""
    encoder = {"channels": list(channels)}
    options = Cl4acOptions.model_validate({"system": "cl4ac", "feature": "logmel", "text": "words", "encoder": encoder})
    words = words_of(160)
    vocabulary = Vocabulary.of([words[start : start + 16] for start in range(0, 160, 16)], VocabularyOptions())
    sizes = {"mels": 64, "words": len(vocabulary), "width": vocabulary.options.word2vec.size}
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    save_file(Cl4ac(options, Sizes(**sizes)).state_dict(), folder / "model.safetensors")
    feature = LogMelOptions(extractor="logmel", seconds=seconds)
    content = {
        "schema": MODEL_SCHEMA,
        "system": "cl4ac",
        "options": options.model_dump(mode="json"),
        "weights_sha256": sha256(folder / "model.safetensors"),
        "network": {
            "sizes": sizes,
            "feature": {"made_by": "logmel", "settings": feature.settings("frames"), "inputs": {}},
            "vocabulary": vocabulary.content(),
        },
    }
    write_json(folder / "model.json", content)
    return folder


def command(model: Path, paths: Sequence[Path], cut: bool) -> tuple[Side, list[str]]:
    """Seconds of a call of the command in a process of its own, and the captions it prints."""
    words = [sys.executable, "-m", "earwitness", "caption", *map(str, paths), "--model", str(model), "--cores", "1"]
    wall, before = time.perf_counter(), os.times()
    done = subprocess.run([*words, *(["--cut"] if cut else [])], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - wall, os.times()
    if done.returncode:
        raise SystemExit(f"earwitness caption failed:\n{done.stderr}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Side(wall, cpu), [line.split("\t")[2] for line in done.stdout.splitlines()]


def calls(model: Path, paths: Sequence[Path], sample: int, cut: bool = False) -> Row:
    """Seconds of a recording in one call and in a call for each."""
    say(f"one call, {len(paths)} recordings")
    whole, captions = command(model, paths, cut)
    singles = []
    for number, path in enumerate(paths[:sample]):
        say(f"single calls: {number + 1}/{sample}")
        taken, (caption,) = command(model, [path], cut)
        assert caption == captions[number], f"{path}: {caption!r}, and {captions[number]!r} among the others"
        singles.append(taken)
    say("")
    ours = Side(whole.wall / len(paths), whole.cpu / len(paths))
    theirs = Side(*(sum(getattr(one, clock) for one in singles) / len(singles) for clock in ("wall", "cpu")))
    ratios = [one.wall / ours.wall for one in singles]
    note = f"{len(singles)} single calls measured; {len(set(captions))} different captions"
    return Row("calls", ours, theirs, (min(ratios), max(ratios)), note)


def captioned(folder: Path, model: Path, number: int, cut: bool = False) -> None:
    """Caption the first recordings of a folder, keeping none of the captions."""
    torch.set_num_threads(1)
    paths = sorted(folder.glob("*.wav"))[:number]
    assert sum(isinstance(one, Captioned) for one in FileCaptioner(model, cut=cut).caption(paths)) == number


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default: all)")
    parser.add_argument("--sample", type=int, default=10, help=f"single calls, of {FEW} (default: 10)")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="of a trained seed (default: an untrained one)")
    parser.add_argument("--cut", action="store_true", help="let a model read the beginning of recordings alone")
    parser.add_argument("--channels", type=int, nargs=4, default=CHANNELS, help="of an untrained model's encoder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args(given)


def measure(chosen: argparse.Namespace, few: int = FEW, many: int = MANY, seconds: float = SECONDS) -> dict[str, Any]:
    """Measure the parts, and print the results."""
    content: dict[str, Any] = machine(1)
    print(", ".join(f"{name} {value}" for name, value in content.items()), flush=True)
    with tempfile.TemporaryDirectory(prefix="earwitness-") as place:
        folder = Path(place)
        model = chosen.model or make_model(folder / "model", chosen.channels, seconds)
        paths = make_recordings(folder / "audio", many if "memory" in chosen.parts else few, seconds)
        if "calls" in chosen.parts:
            row = calls(model, paths[:few], min(few, chosen.sample), chosen.cut)
            print(table([row], LABELS, EXPECTED), flush=True)
            content["calls"] = asdict(row) | {"ratio": asdict(row.ratio), "expected": EXPECTED["calls"]}
        if "memory" in chosen.parts:
            stages = {number: partial(captioned, model=model, number=number, cut=chosen.cut) for number in (few, many)}
            content["memory"] = found = {number: peak_of(stage, folder / "audio") for number, stage in stages.items()}
            growth = found[many] / found[few]
            peaks = ", ".join(f"{number} recordings: {peak:.0f} MB" for number, peak in found.items())
            print(f"{peaks}; {growth:.2f} times as much{'' if growth < LIMIT else ': it grows'}")
    return content


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        from_command_line(arguments, measure)
