"""Peak memory of each stage with 500 and with 2,000 clips: it must not grow with the number of clips.

Writes a folder in the Clotho layout (noise of 3 s, five random captions a clip; three fifths of the clips to train on,
one fifth each to validate and to evaluate), then runs corpus, features, text, training for one epoch with a small
network, and prediction, each in a process of its own, and reads that process's peak of resident memory from the kernel
(VmHWM, so Linux is needed). Java, which training starts to tokenise captions, is a process apart and not counted.

Most of each figure is the libraries themselves. The last columns tell what matters: how much the peak grew for each
clip more that the stage worked on, beside what one clip's features take. A stage that kept its clips would show at
least the latter; captions and tables, which are kept, come to some kilobytes a clip.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from earwitness.config import validated
from earwitness.options import SPLITS, Use, VocabularyOptions

SHARES = {"development": 3, "validation": 1, "evaluation": 1}  # fifths of the clips
FEATURE = {"extractor": "logmel", "sample_rate": 16000, "fmax": 8000, "hop": 64, "seconds": 3}
TEXT = {"word2vec": {"size": 32, "passes": 2}}
EXPERIMENT = {
    "system": "cl4ac",
    "feature": "logmel",
    "text": "random",
    "encoder": {"channels": [2, 4, 8, 16]},
    "decoder": {"feedforward": 64},
    "train": {"batching": "grouped", "batch_size": 8, "epochs": 1},
}
RATE = FEATURE["sample_rate"]
CLIP_KB = (1 + FEATURE["seconds"] * RATE // FEATURE["hop"]) * 64 * 4 / 1024  # features of one clip
LIMIT = 1.1
THREADS = 1  # more would only wait for one another where the machine has other work


@dataclass(frozen=True)
class Row:
    """Peak memory of one stage, in MB, with few and with many clips; ``clips`` are those more that it worked on."""

    stage: str
    few: float
    many: float
    clips: int

    @property
    def ratio(self) -> float:
        """How many times more the many clips take."""
        return self.many / self.few

    @property
    def growth(self) -> float:
        """KB for each clip more."""
        return (self.many - self.few) * 1024 / self.clips


def make_corpus(root: Path, clips: int) -> None:
    """A folder in the Clotho layout with noise of 3 s and captions of 8 to 14 random words."""
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(300)]
    for split in SPLITS:
        (root / split).mkdir(parents=True)
        with (root / f"clotho_captions_{split}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file_name", *(f"caption_{number}" for number in range(1, 6))])
            for number in range(share(clips, split)):
                name = f"{number:05d}.wav"
                noise = rng.normal(0, 0.1, FEATURE["seconds"] * RATE)
                soundfile.write(root / split / name, noise, RATE, subtype="PCM_16")
                rows.writerow([name, *(" ".join(rng.choice(words, rng.integers(8, 15))) for _ in range(5))])


def share(clips: int, *splits: str) -> int:
    """How many of the clips are in the given splits."""
    return sum(clips * SHARES[split] // sum(SHARES.values()) for split in splits)


# --- the stages, as the DAG runs them ---------------------------------------------------------------------------------


def corpus(folder: Path) -> None:
    """Check the audio and write the tables."""
    from earwitness.corpora.layouts.clotho import Clotho
    from earwitness.corpora.stage import build

    options = validated("datasets", {"layout": "clotho", "audio": str(folder / "audio")})
    build(Clotho(options), options, folder / "audio", folder / "corpus", THREADS)


def features(folder: Path) -> None:
    """Extract the features of all splits, in this process."""
    from earwitness.features.stage import extract

    options = validated("features", FEATURE)
    for split in SPLITS:
        extract(options, folder / "corpus/clips.csv", split, folder / "audio", folder / f"{split}.h5", cores=1)


def text(folder: Path) -> None:
    """Make the vocabulary and the word vectors."""
    from earwitness.text.stage import prepare_text

    tables = (folder / "corpus/clips.csv", folder / "corpus/captions.csv")
    out = {"vocabulary": folder / "vocabulary.json", "word2vec": folder / "word2vec.bin"}
    prepare_text(VocabularyOptions.model_validate(TEXT), tables[0].parent, out)


def training(folder: Path) -> None:
    """Train for one epoch and validate."""
    from earwitness.training.stage import train_model

    options = validated("experiments", EXPERIMENT)
    files = inputs(folder, options.training_inputs())
    names = {"weights": "model.safetensors", "description": "model.json", "events": "events.jsonl"}
    out = {name: folder / file for name, file in names.items()}
    train_model("random", "cl4ac", options, 0, files, out, folder / "work", THREADS)


def prediction(folder: Path) -> None:
    """Caption the clips to evaluate on."""
    from earwitness.evaluation.predict import predict

    options = validated("experiments", EXPERIMENT)
    files = inputs(folder, options.prediction_inputs())
    predict(options, "captioning", files, folder / "corpus", folder, THREADS)


STAGES: dict[Callable[[Path], None], tuple[str, ...]] = {  # the splits that each works on
    corpus: SPLITS,
    features: SPLITS,
    text: ("development",),
    training: ("development", "validation"),
    prediction: ("evaluation",),
}


def inputs(folder: Path, wanted: dict[str, Use]) -> dict[str, Path]:
    """The places of the files that a system reads."""
    return {
        name: folder / "corpus" / use.file if use.stage == "corpus" else folder / use.file
        for name, use in wanted.items()
    }


# --- measuring --------------------------------------------------------------------------------------------------------


def peak_of(stage: Callable[[Path], None], folder: Path) -> float:
    """Run a stage in a fresh process; the peak of that process's resident memory in MB."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_run, stage, folder).result()


def _run(stage: Callable[[Path], None], folder: Path) -> float:
    with redirect_stderr(io.StringIO()):  # progress bars
        stage(folder)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def peaks(clips: int) -> dict[str, float]:
    """The peak of each stage, in order, on a data set of so many clips."""
    with tempfile.TemporaryDirectory(prefix="earwitness-") as place:
        folder = Path(place)
        make_corpus(folder / "audio", clips)
        found = {}
        for stage in STAGES:
            print(f"{clips} clips: {stage.__name__} ...", file=sys.stderr, flush=True)
            found[stage.__name__] = peak_of(stage, folder)
        return found


def run(few: int, many: int) -> list[Row]:
    """Measure every stage with few and with many clips."""
    first, second = peaks(few), peaks(many)
    more = {stage.__name__: share(many, *splits) - share(few, *splits) for stage, splits in STAGES.items()}
    return [Row(stage, first[stage], second[stage], more[stage]) for stage in first]


def table(rows: list[Row], few: int, many: int) -> str:
    """The results for people."""
    lines = [f"{'peak memory in MB':<18} {few:>6} clips {many:>6} clips  ratio   KB for each clip more"]
    for row in rows:
        remark = "" if row.ratio < LIMIT else "  grows"
        figures = f"{row.few:>12.1f} {row.many:>12.1f} {row.ratio:>6.2f} {row.growth:>12.1f}"
        lines.append(f"{row.stage:<18} {figures}{remark}")
    lines.append(f"One clip's features take {CLIP_KB:.0f} KB. Expected: ratios below {LIMIT}.")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=500, help="clips of the smaller data set (default: 500)")
    parser.add_argument("--many", type=int, default=2000, help="clips of the larger data set (default: 2000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    chosen = arguments()
    rows = run(chosen.few, chosen.many)
    print(table(rows, chosen.few, chosen.many))
    if chosen.json:
        results: list[dict[str, Any]] = [asdict(row) | {"ratio": row.ratio} for row in rows]
        content = {"few": chosen.few, "many": chosen.many, "clip_kb": CLIP_KB, "results": results}
        chosen.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
