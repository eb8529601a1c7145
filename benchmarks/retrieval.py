"""Training of Audio-Text Retrieval in Context against a plain version of the published way; and its sweeps.

yamnet     an epoch of NetRVLAD on 300 clips with features of YAMNet's size (20 x 1024, 84 % zeros)
cnn14      the same on 256 clips with features of CNN14's size (31 x 2048; the published way pads to 90 frames), in
           float32 and in bfloat16 (``precision: bf16-mixed``; the published way has float32 alone)
lstm       a step of LSTM pooling, forwards and backwards, on 128 clips of 20 to 62 frames x 1024, against packed
           sequences
memory     peak memory of a training with few clips and with four times as many, each in a process of its own (Linux)
sweep      all combinations of six features and five poolings through Snakemake in one call, against a call for each,
           one after another; features, text and corpus are there before. Every experiment trains with one thread. It
           says how busy the one call keeps the cores.

A clip has five captions of 8 to 18 words. Both sides of an epoch train the same network from the same weights. Before
anything is timed it is checked that losses and gradients agree where both have the published conventions, and that
both optimisers make the same steps. Sides alternate; each figure is the median of the repetitions. The baseline is
``in_context.py``.

The full sweep has experiments of very different cost (an epoch of ``cnn14 lstm`` takes a minute and more): with
``--features`` and ``--poolings`` a part of it is measured. Both ways must give the same metrics.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import in_context
import numpy as np
import pandas as pd
import soundfile
import torch
import yaml
from common import Row, Side, clocked, from_command_line, median, side_by_side
from memory import peak_of

from earwitness.config import validated
from earwitness.corpora.tables import CAPTIONS, CLIPS, audio_digest, caption_id, write_table
from earwitness.features.store import write
from earwitness.files import provenance, read_json
from earwitness.nn.pooling import Lstm
from earwitness.options import SPLITS
from earwitness.systems.atr.options import AtrOptions
from earwitness.systems.atr.system import AtrSystem
from earwitness.text.encoders import open_encoder
from earwitness.text.options import WordVectorsOptions
from earwitness.text.word_vectors import prepare
from earwitness.training.optimisers import Ranger

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("yamnet", "cnn14", "lstm", "memory", "sweep")
EXPECTED = {"yamnet": 1.2, "cnn14": 1.1, "cnn14, bf16-mixed": 1.1, "lstm": 1.2, "sweep": 1.2}
POOLINGS = ("mean", "max", "lstm", "netvlad", "netrvlad")
FEATURES = {  # frames and dimensions of a clip of 10 s
    "lms": (31, 128),
    "vggish": (10, 128),
    "vggsound": (31, 512),
    "cnn10": (62, 512),
    "cnn14": (31, 2048),
    "efficient-latent": (32, 1408),
}
SWEPT = {"development": 300, "validation": 60, "evaluation": 100}  # clips, as the soundscapes have them
FOLDERS = {"development": "train", "validation": "val", "evaluation": "test"}  # of external features
CAPTIONS_OF_A_CLIP = 5
LIMIT = 1.1
BUSY = 0.85


@dataclass(frozen=True)
class Sizes:
    """A data set, and to how many frames and clips of a batch the published way brings it."""

    made_by: str
    clips: int
    frames: int
    dimension: int
    longest: int
    batch: int = 128
    words: int = 500
    word_dimension: int = 300
    zeros: float = 0.84  # share of features that are


YAMNET = Sizes("external", 300, 20, 1024, 20)
CNN14 = Sizes("panns_cnn14", 256, 31, 2048, 90)


# --- data -------------------------------------------------------------------------------------------------------------


def words_of(count: int) -> list[str]:
    """Made-up words."""
    return ["".join("abcdefghij"[int(digit)] for digit in f"{number:04d}") for number in range(count)]


def random_caption(words: Sequence[str], rng: np.random.Generator, lengths: tuple[int, int] = (8, 18)) -> str:
    """8 to 18 random words, 13 on average; or of other lengths."""
    return " ".join(rng.choice(words, int(rng.integers(lengths[0], lengths[1] + 1))))


def make_word_vectors(folder: Path, words: Sequence[str], dimension: int, rng: np.random.Generator) -> None:
    """``vectors.h5``, with random vectors, for the texts of the tables in a folder."""
    with (folder / "words.bin").open("wb") as file:
        file.write(f"{len(words)} {dimension}\n".encode())
        for word in words:
            vector = rng.standard_normal(dimension, dtype=np.float32)
            file.write(word.encode() + b" " + (0.2 * vector).tobytes() + b"\n")
    with redirect_stderr(io.StringIO()):
        options = WordVectorsOptions.model_validate({"kind": "word_vectors", "vectors": str(folder / "words.bin")})
        prepare(options, folder, {"vectors": folder / "vectors.h5"})


def random_frames(frames: int, dimension: int, zeros: float, rng: np.random.Generator) -> np.ndarray:
    """Features as networks have them after their activation: float32 [frames, dimension], most of them zero."""
    values = np.abs(rng.standard_normal((frames, dimension), dtype=np.float32))
    return values * (rng.random((frames, dimension)) >= zeros)


def into(source: h5py.File, clip_ids: Iterable[str], sizes: Sizes, rng: np.random.Generator) -> Iterator[Any]:
    """Clips with random frames, each also a compressed data set of ``source``."""
    for clip in clip_ids:
        frames = random_frames(sizes.frames, sizes.dimension, sizes.zeros, rng)
        source.create_dataset(clip, data=frames, compression="gzip")
        yield clip, frames


def make_data(sizes: Sizes, folder: Path, seed: int = 0) -> dict[str, Path]:
    """The files that training reads, and ``source.h5``, the same features with one compressed data set a clip."""
    rng = np.random.default_rng(seed)
    words = words_of(sizes.words)
    splits = {"development": sizes.clips, "validation": 8}
    clips = [(f"{split}-{number}", split) for split, count in splits.items() for number in range(count)]
    rows = [[clip, split, f"{clip}.wav", "name", 10.0, 32000, 1, clip] for clip, split in clips]
    table = pd.DataFrame(rows, columns=CLIPS)
    numbered = [(clip, number) for clip, _ in clips for number in range(1, CAPTIONS_OF_A_CLIP + 1)]
    captions = [[caption_id(clip, number), clip, random_caption(words, rng)] for clip, number in numbered]
    write_table(folder / "clips.csv", table)
    write_table(folder / "captions.csv", pd.DataFrame(captions, columns=CAPTIONS))
    make_word_vectors(folder, words, sizes.word_dimension, rng)
    with h5py.File(folder / "source.h5", "w") as source:
        for split in splits:
            of_split = table[table["split"] == split]
            made_from = provenance(sizes.made_by, settings={}) | {"inputs": {"audio": audio_digest(of_split)}}

            frames = into(source, of_split["clip_id"], sizes, rng)
            write(folder / f"{split}.h5", frames, sizes.dimension, made_from, total=len(of_split) * sizes.frames)
    files = {name: folder / f"{name}.csv" for name in ("clips", "captions")}
    files |= {f"random {split}": folder / f"{split}.h5" for split in splits}
    return files | {"text vectors": folder / "vectors.h5"}


# --- an epoch ---------------------------------------------------------------------------------------------------------


def options_of(sizes: Sizes, **changes: Any) -> AtrOptions:
    """The experiment ``atr`` on the random features."""
    content = {"system": "atr", "features": ["random"], "text": "random", "train": {"batch_size": sizes.batch}}
    return AtrOptions.model_validate(content | changes)


class Bench:
    """Both sides on one random data set, which ``folder`` holds as long as it is used."""

    def __init__(self, sizes: Sizes, folder: Path, seed: int = 0):
        self.sizes, self.folder, self.seed = sizes, folder, seed
        self.files = make_data(sizes, folder, seed)
        self.system = AtrSystem(options_of(sizes), self.files, seed)
        self.optimiser = self.system.optimiser()
        options = options_of(sizes, mask_pads=False)
        self.published = in_context.PublishedAtr(options, self.system._sizes())
        self.share_weights()
        optim = options.optim
        self.ranger = in_context.Ranger(
            self.published.parameters(), optim.lr, optim.betas, optim.eps, optim.weight_decay
        )
        encoder = open_encoder(self.files["text vectors"])
        captions = self.system.batches.captions
        self.vectors = {clip: [encoder.encode([text])[0][0] for text in texts] for clip, texts in captions.items()}
        self.epochs = 0

    def share_weights(self) -> None:
        """Give our weights to the published network."""
        weights = self.system.network.state_dict()
        own = self.published.state_dict()
        self.published.load_state_dict({name: weights[name] for name in own})

    def check(self) -> float:
        """Losses and gradients of a batch agree under the published conventions; the largest difference of losses.

        Both are in training mode, so statistics of the batch take part. Both optimisers agree on small parameters.
        """
        options = options_of(self.sizes, mask_pads=False, reference_limits="clotho")
        ours = AtrSystem(options, self.files, self.seed)
        ours.network.load_state_dict(self.system.network.state_dict())
        batch = ours.batches[0, 0]
        order, _ = ours.batches._epoch(0)
        chosen = [ours.batches.clip_ids[clip] for clip in order[: len(batch.frames[0])]]
        frames, captions = zip(*in_context.items(*self.source(chosen)), strict=True)
        theirs = in_context.loss_of(
            self.published.train(), *(torch.from_numpy(np.stack(x)) for x in (frames, captions))
        )
        own = ours.losses(batch)["loss"]
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)
        for value, network in ((own, ours.network), (theirs, self.published)):
            network.zero_grad()
            value.backward()
        gradients = {name: x.grad for name, x in ours.network.named_parameters() if x.requires_grad}
        largest = max(float(gradient.abs().max()) for gradient in gradients.values())
        for name, parameter in self.published.named_parameters():
            if parameter.grad is not None:  # that of a bias before batch normalisation is rounding alone
                scale = 1e-3 * float(gradients[name].abs().max()) + 1e-5 * largest
                torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-2, atol=scale)
        self.published.zero_grad()
        self.share_weights()
        check_optimisers()
        return abs(own.item() - theirs.item())

    def source(self, clip_ids: Sequence[str]) -> tuple[Any, ...]:
        """What the published way reads clips from."""
        return self.folder / "source.h5", self.vectors, clip_ids, self.sizes.longest

    def ours(self, precision: str) -> None:
        """An epoch as the training loop runs it."""
        loader: Any = self.system.training_loader()
        loader.sampler.set_epoch(self.epochs)
        self.epochs += 1
        self.system.network.train()
        for batch in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
                loss = self.system.losses(batch)["loss"]
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()

    def theirs(self) -> None:
        """An epoch in the published way, over as many batches of the same sizes."""
        order = np.random.default_rng(self.epochs).permutation(list(self.vectors)).tolist()
        self.published.train()
        size = self.sizes.batch
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        path, vectors, _, longest = self.source(())
        in_context.epoch(self.published, self.ranger, path, vectors, batches, longest)

    def row(self, part: str, precision: str, repetitions: int) -> Row:
        """Time an epoch of each side, once untimed."""
        seconds: list[list[Side]] = [[], []]
        for repetition in range(repetitions + 1):
            for side, run in enumerate((lambda: self.ours(precision), self.theirs)):
                timed, _ = clocked(run)
                if repetition:
                    seconds[side].append(timed)
        pairs = [b.wall / a.wall for a, b in zip(*seconds, strict=True)]
        return Row(part, *map(median, seconds), (min(pairs), max(pairs)))


def check_optimisers(steps: int = 13) -> None:
    """Both ways of Ranger take the same steps, over the switch of RAdam and two steps of Lookahead."""
    rng = torch.Generator().manual_seed(0)
    first = [torch.nn.Parameter(torch.randn(size, generator=rng)) for size in ((5, 3), (7,))]
    second = [torch.nn.Parameter(parameter.detach().clone()) for parameter in first]
    ours, theirs = Ranger(first), in_context.Ranger(second, 0.01, (0.95, 0.999), 1e-5, 1e-3)
    for _ in range(steps):
        for a, b in zip(first, second, strict=True):
            a.grad = torch.randn(a.shape, generator=rng)
            b.grad = a.grad.clone()
        ours.step()
        theirs.step()
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def epochs(sizes: Sizes, part: str, precisions: Sequence[str], repetitions: int) -> list[Row]:
    """Check that both sides agree, then time an epoch in each precision."""
    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        bench = Bench(sizes, Path(folder))
        bench.check()
        names = {"32-true": part, "bf16-mixed": f"{part}, bf16-mixed"}
        return [bench.row(names[precision], precision, repetitions) for precision in precisions]


def lstm(repetitions: int, batch: int = 128, least: int = 20, longest: int = 62, dimension: int = 1024) -> Row:
    """A step of the pooling on padded sequences against one on packed ones, whose results must agree."""
    torch.manual_seed(0)
    ours, packed = Lstm(dimension, dimension), in_context.PackedLstm(dimension, dimension)
    packed.load_state_dict(ours.state_dict())
    values = torch.randn(batch, longest, dimension)
    mask = torch.arange(longest) < torch.randint(least, longest + 1, (batch, 1))

    def step(pooling: torch.nn.LSTM) -> torch.Tensor:
        pooling.zero_grad()
        pooled = pooling(values, mask)
        pooled.square().cumsum(dim=1).sum().backward()
        return pooled.detach()

    row, one, other = side_by_side("lstm", lambda: step(ours), lambda: step(packed), repetitions)
    torch.testing.assert_close(one, other)
    for (name, parameter), of_packed in zip(ours.named_parameters(), packed.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, of_packed.grad, rtol=1e-3, atol=1e-4, msg=f"gradients of {name}")
    return row


# --- memory -----------------------------------------------------------------------------------------------------------


def training(folder: Path) -> None:
    """Train for two epochs on the data in a folder."""
    from earwitness.training.stage import train_model

    content = {"system": "atr", "features": ["random"], "text": "random", "train": {"epochs": 2}}
    files = {name: folder / f"{name}.csv" for name in ("clips", "captions")} | {"text vectors": folder / "vectors.h5"}
    files |= {f"random {split}": folder / f"{split}.h5" for split in ("development", "validation")}
    names = {"weights": "model.safetensors", "description": "model.json", "events": "events.jsonl"}
    out = {name: folder / file for name, file in names.items()}
    train_model("random", "atr", validated("experiments", content), 0, files, out, folder / "work", 1)


def peaks(sizes: Sizes, factor: int = 4) -> dict[str, Any]:
    """Peak memory in MB of a training, and of one with ``factor`` times as many clips."""
    found = {}
    for clips in (sizes.clips, factor * sizes.clips):
        with tempfile.TemporaryDirectory(prefix="earwitness-") as place:
            make_data(Sizes(**(asdict(sizes) | {"clips": clips})), Path(place))
            found[clips] = peak_of(training, Path(place))
    few, many = found.values()
    growth = 1024 * (many - few) / ((factor - 1) * sizes.clips)
    clip_kb = sizes.frames * sizes.dimension * 4 / 1024
    return {"mb": found, "ratio": many / few, "kb_a_clip": growth, "clip_kb": clip_kb}


# --- a sweep ----------------------------------------------------------------------------------------------------------


class Sweep:
    """The DAG in a folder of its own, with a data set whose features are there.

    Args:
        epochs: of each training; None: as many as the experiment has.
    """

    def __init__(self, folder: Path, features: Sequence[str], poolings: Sequence[str], cores: int, epochs: int | None):
        self.folder, self.cores = folder, cores
        self.config = folder / "sweep.yaml"
        names = itertools.product(features, poolings)
        self.results = [f"results/random/grid-{feature}-{pooling}/metrics.json" for feature, pooling in names]
        (folder / "config").symlink_to(ROOT / "config")
        self._make_data(features)
        train = {"threads": 1} | ({"epochs": epochs} if epochs else {})
        sweep = {"features": {name: [f"made-{name}"] for name in features}, "pooling": list(poolings)}
        content = {
            "features": {
                f"made-{name}": {"extractor": "external", "folder": str(folder / "AudioExpert" / name)}
                for name in features
            },
            "texts": {"made": {"kind": "word_vectors"}},
            "experiments": {"grid": {"extends": "atr", "text": "made", "train": train, "sweep": sweep}},
            "datasets": {"random": {"layout": "clotho", "audio": str(folder / "audio"), "experiments": ["grid"]}},
        }
        self.config.write_text(yaml.safe_dump(content), encoding="utf-8")
        features_of = [f"results/random/features/made-{name}/{split}.h5" for name in features for split in SPLITS]
        others = ["text/made/vectors.h5", "corpus/leaks.json", "corpus/relevant.csv"]
        self.run(folder, *features_of, *(f"results/random/{name}" for name in others), "results/mlflow-store.json")

    def _make_data(self, features: Sequence[str]) -> None:
        rng = np.random.default_rng(0)
        words = words_of(500)
        for split, clips in SWEPT.items():
            names = [f"{split}-{number}" for number in range(clips)]
            (self.folder / "audio" / split).mkdir(parents=True)
            table = self.folder / "audio" / f"clotho_captions_{split}.csv"
            with table.open("w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(["file_name", *(f"caption_{number}" for number in range(1, 6))])
                for name in names:
                    noise = rng.normal(0, 0.1, 1600)
                    soundfile.write(self.folder / "audio" / split / f"{name}.wav", noise, 16000, subtype="PCM_16")
                    rows.writerow([f"{name}.wav", *(random_caption(words, rng) for _ in range(CAPTIONS_OF_A_CLIP))])
            for feature in features:
                place = self.folder / "AudioExpert" / feature / FOLDERS[split]
                place.mkdir(parents=True)
                with h5py.File(place / f"{feature}.h5", "w") as file:
                    for name in names:
                        file[name] = random_frames(*FEATURES[feature], 0.5, rng)

    def run(self, folder: Path, *targets: str) -> Side:
        """Make targets in a copy of the folder; the seconds of the call, and of the processor in all its jobs."""
        command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(folder), "--cores", str(self.cores), "--configfile", str(self.config)]
        inherited = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=ROOT, env=inherited, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stdout + done.stderr)[-6000:])
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        return Side(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def sweep(
    features: Sequence[str], poolings: Sequence[str], cores: int, epochs: int | None = None, calls_too: bool = True
) -> dict[str, Any]:
    """Seconds of one call, and the share of the cores' time that its jobs used; where ``calls_too``, also of the calls
    one after another; and seconds of the jobs by rule."""
    with tempfile.TemporaryDirectory(prefix="earwitness-") as place:
        (first := Path(place) / "one").mkdir()
        of = Sweep(first, features, poolings, cores, epochs)
        second = Path(place) / "calls"
        shutil.copytree(first, second, symlinks=True)
        one = of.run(first, *of.results)
        found = {"one": one.wall, "busy": one.cpu / one.wall / cores, "experiments": len(of.results)}
        if not calls_too:
            return found | {"jobs": jobs(first)}
        calls = {}
        for target in of.results:
            calls[Path(target).parent.name] = of.run(second, target).wall
            print(f"{target}: {calls[Path(target).parent.name]:.1f} s", file=sys.stderr, flush=True)
        for target in of.results:
            metrics = [read_json(folder / target)["metrics"] for folder in (first, second)]
            if metrics[0] != metrics[1]:
                raise AssertionError(f"{target} differs: {metrics}")
        return found | {"calls": calls, "ratio": sum(calls.values()) / one.wall, "jobs": jobs(second)}


def jobs(folder: Path) -> dict[str, dict[str, float]]:
    """Mean wall and CPU seconds of the jobs of each rule, from Snakemake's benchmark files."""
    found: dict[str, list[tuple[float, float]]] = {}
    for path in sorted((folder / "logs/random").glob("grid-*/**/*.tsv")):
        row = pd.read_csv(path, sep="\t").iloc[0]
        found.setdefault(path.stem, []).append((float(row["s"]), float(row["cpu_time"])))
    means = {rule: np.mean(seconds, axis=0).tolist() for rule, seconds in found.items()}
    return {rule: {"wall": wall, "cpu": cpu} for rule, (wall, cpu) in means.items()}


# --- the command line -------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """The results of the epochs for people."""
    lines = [f"{'seconds of an epoch':<20} {'ours':>17} {'published':>17} {'ratio':>13}  {'range':>11}  at least"]
    for row in rows:
        sides = "".join(f" {side.wall:>8.2f} ({side.cpu:>6.2f})" for side in (row.ours, row.published))
        ratio = f" {row.ratio.wall:>5.1f} ({row.ratio.cpu:>5.1f})  {row.pairs[0]:>4.1f} to {row.pairs[1]:>4.1f}"
        lines.append(f"{row.part:<20}{sides}{ratio}  {EXPECTED[row.part]:>8.1f}")
    return "\n".join([*lines, "Of the wall clock, and in parentheses of the processor."])


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="threads of an epoch (default: 2)")
    parser.add_argument("--repetitions", type=int, default=3, help="timed epochs of each side (default: 3)")
    parser.add_argument("--cores", type=int, default=2, help="sweep: cores of Snakemake (default: 2)")
    parser.add_argument("--features", nargs="+", choices=FEATURES, default=list(FEATURES), help="sweep: these alone")
    parser.add_argument("--poolings", nargs="+", choices=POOLINGS, default=list(POOLINGS), help="sweep: these alone")
    parser.add_argument("--epochs", type=int, help="sweep: of each training (default: those of atr)")
    parser.add_argument("--one-call", action="store_true", help="sweep: leave out the calls one after another")
    parser.add_argument("--quick", action="store_true", help="one repetition; sweep: lms, mean and max, two epochs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args()


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure the parts, and print each as soon as it is known."""
    if chosen.quick:
        chosen.repetitions, chosen.features, chosen.poolings = 1, ["lms"], ["mean", "max"]
    torch.set_num_threads(chosen.threads)
    content: dict[str, Any] = {"threads": chosen.threads, "repetitions": chosen.repetitions, "torch": torch.__version__}
    print(", ".join(f"{name} {value}" for name, value in content.items()), flush=True)
    precisions = {"yamnet": ["32-true"], "cnn14": ["32-true", "bf16-mixed"]}
    for part, sizes in (("yamnet", YAMNET), ("cnn14", CNN14)):
        if part in chosen.parts:
            rows = epochs(sizes, part, precisions[part], chosen.repetitions)
            print(table(rows), flush=True)
            content[part] = [asdict(row) | {"ratio": asdict(row.ratio)} for row in rows]
    if "lstm" in chosen.parts:
        row = lstm(chosen.repetitions)
        print(table([row]), flush=True)
        content["lstm"] = asdict(row) | {"ratio": asdict(row.ratio)}
    if "memory" in chosen.parts:
        content["memory"] = found = peaks(YAMNET)
        figures = ", ".join(f"{clips} clips: {mb:.0f} MB" for clips, mb in found["mb"].items())
        growth = f"{found['kb_a_clip']:.1f} KB for each clip more, whose frames have {found['clip_kb']:.0f} KB"
        print(f"training, {figures}; ratio {found['ratio']:.2f} (below {LIMIT}), {growth}", flush=True)
    if "sweep" in chosen.parts:
        epochs_ = 2 if chosen.quick else chosen.epochs
        content["sweep"] = found = sweep(
            chosen.features, chosen.poolings, chosen.cores, epochs_, calls_too=not chosen.one_call
        )
        print(
            f"sweep of {found['experiments']} experiments on {chosen.cores} cores, one call: {found['one']:.0f} s, of "
            f"whose cores {found['busy']:.0%} is used (at least {BUSY:.0%})"
        )
        if "calls" in found:
            print(
                f"one call after another: {sum(found['calls'].values()):.0f} s; ratio {found['ratio']:.2f} (at least "
                f"{EXPECTED['sweep']})"
            )
        print("jobs, mean:")
        for rule, seconds in found["jobs"].items():
            print(f"    {rule:<20} {seconds['wall']:>6.1f} s, {seconds['cpu']:>6.1f} s of the processor")
    return content


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        from_command_line(arguments, measure)
