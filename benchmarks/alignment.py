"""Audio-caption alignment against a plain version of the published way; and an hour of sound in bounded memory.

sed        every threshold (99) and both ways of pooling words for 1,161 phrases of 70 clips. Ours computes the
           activations of all phrases, a clip encoded once for each way, and reads all thresholds off cumulative counts;
           the published way runs the network for each phrase, threshold and way, measured on a few of these and
           multiplied.
retrieval  350 captions and 70 clips. Ours scores all of them with each other and computes the metrics of full retrieval
           and those of 20 repetitions with 30 candidates; the published way runs the network for each of 20 x 70 x 30
           candidate pairs, measured on a few and multiplied.
training   a step on 32 pairs of a clip of 10 s and a caption in float32 and in bfloat16 (``precision: bf16-mixed``; the
           published way has float32 alone), and one on clips of 6 to 10 s, whose pads ours leaves out.
hour       activations of 20 phrases on ten minutes and on an hour of sound: seconds, and peak memory of a process each
           (Linux).

Features, captions and phrases are random; sizes are those of AudioGrounding's first version. Both sides have the same
weights. Before anything is timed it is checked that losses and gradients agree under the published conventions, and
afterwards that scores and counts of frames do. Sides alternate; each figure is the median of the repetitions. The
baseline is ``audio_caption.py``.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import audio_caption
import numpy as np
import pandas as pd
import torch
from common import Row, clocked, machine, side_by_side, table
from memory import peak_of
from retrieval import make_word_vectors, random_caption, words_of
from torch import Tensor, nn

from earwitness.corpora.tables import (
    CAPTIONS,
    CLIPS,
    EVENTS,
    PHRASES,
    audio_digest,
    caption_id,
    phrase_id,
    phrases_of,
    read_table,
    reference_events,
    write_rows,
    write_table,
)
from earwitness.features.store import FeatureStore, write
from earwitness.files import provenance
from earwitness.metrics import grounding, retrieval
from earwitness.metrics.events import frame_labels
from earwitness.prediction.clips import Clips
from earwitness.systems.alignment.batches import Batch
from earwitness.systems.alignment.network import Alignment
from earwitness.systems.alignment.options import TEXT_INPUT, AlignmentOptions
from earwitness.systems.alignment.system import UNTUNED, AlignmentModel, AlignmentSystem
from earwitness.text.encoders import TextEncoder, open_encoder

PARTS = ("sed", "retrieval", "training", "hour")
LABELS = {
    "sed": "SED, all thresholds",
    "retrieval": "retrieval",
    "training": "training step",
    "bf16": "training step, bf16-mixed",
    "unequal": "training step, 6 to 10 s",
}
EXPECTED = {"sed": 500.0, "retrieval": 50.0, "training": 1.0, "bf16": 1.5, "unequal": 1.0}
HOP = 0.02  # seconds
POOLINGS = ("mean", "max")  # of words
THRESHOLDS = grounding.Options().thresholds
REPETITIONS, CANDIDATES = 20, 30  # of the published retrieval
ASKED = 20  # phrases on a long recording
MINUTES = (10, 60)


@dataclass(frozen=True)
class Sizes:
    """A data set and the network; the defaults are those of AudioGrounding's first version, and the published ones."""

    batch: int = 32
    clips: int = 70  # of the evaluation split
    captions: int = 5  # of each of these
    phrases: int = 1161
    frames: int = 501
    mels: int = 64
    words: int = 1400
    word_dimension: int = 300
    channels: tuple[int, ...] = (32, 128, 128, 128, 128)


# --- data -------------------------------------------------------------------------------------------------------------


def random_clip(frames: int, mels: int, rng: np.random.Generator) -> np.ndarray:
    """A log-mel spectrogram: noise with a spectrum of its own that swells and fades, float32 [frames, mels]."""
    spectrum = rng.normal(0, 2, mels)
    loudness = np.repeat(rng.normal(0, 2, -(-frames // 25)), 25)[:frames, None]
    return (-8 + spectrum + loudness + rng.normal(0, 1, (frames, mels))).astype(np.float32)


def make_data(sizes: Sizes, folder: Path, seed: int = 0) -> dict[str, Path]:
    """The files that training and prediction read, and ``unequal.h5``, training clips of different lengths."""
    rng = np.random.default_rng(seed)
    words = words_of(sizes.words)
    splits = {"development": sizes.batch, "validation": 2, "evaluation": sizes.clips}
    of_split = {split: [f"{split}-{number}" for number in range(count)] for split, count in splits.items()}
    rows = [
        [clip, split, f"{clip}.wav", "name", sizes.frames * HOP, 32000, 1, clip]
        for split, clips in of_split.items()
        for clip in clips
    ]
    table = pd.DataFrame(rows, columns=CLIPS)
    write_table(folder / "clips.csv", table)
    captions = [
        [caption_id(clip, number + 1), clip, random_caption(words, rng, (5, 17))]
        for split, clips in of_split.items()
        for clip in clips
        for number in range(sizes.captions if split == "evaluation" else 1)
    ]
    write_table(folder / "captions.csv", pd.DataFrame(captions, columns=CAPTIONS))
    located = [caption for caption in captions if caption[1] in set(of_split["evaluation"])]
    phrases, events = [], []
    for number in range(sizes.phrases):
        caption, _, text = located[number % len(located)]
        tokens = text.split()
        count = int(rng.integers(1, 6))
        start = int(rng.integers(0, len(tokens) - count + 1))
        name = phrase_id(caption, number // len(located) + 1)
        phrases.append([name, caption, " ".join(tokens[start : start + count]), start, start + count - 1])
        onset, offset = np.sort(rng.uniform(0, sizes.frames * HOP, 2)).round(3)
        events.append([name, onset, offset])
    phrases.sort()
    write_table(folder / "phrases.csv", pd.DataFrame(phrases, columns=PHRASES))
    write_rows(folder / "events.csv", EVENTS, events)
    make_word_vectors(folder, words, sizes.word_dimension, rng)
    for split, clips in of_split.items():
        made = made_by(table[table["split"] == split])
        frames = [(clip, random_clip(sizes.frames, sizes.mels, rng)) for clip in clips]
        write(folder / f"{split}.h5", frames, sizes.mels, made)
        if split == "development":
            lengths = np.linspace(0.6, 1, len(clips)) * sizes.frames
            shorter = [(clip, values[: int(n)]) for (clip, values), n in zip(frames, lengths, strict=True)]
            write(folder / "unequal.h5", shorter, sizes.mels, made)
    files = {name: folder / f"{name}.csv" for name in ("clips", "captions", "phrases", "events")}
    return files | {split: folder / f"{split}.h5" for split in splits} | {TEXT_INPUT: folder / "vectors.h5"}


def made_by(clips: pd.DataFrame) -> dict[str, Any]:
    """Provenance of random features of these clips."""
    return provenance("random", settings={}) | {"inputs": {"audio": audio_digest(clips)}, "hop": HOP}


def options_of(sizes: Sizes, **changes: Any) -> AlignmentOptions:
    """The experiment ``alignment`` on the random features."""
    content = {"system": "alignment", "feature": "random", "text": "random", "train": {"batch_size": sizes.batch}}
    crnn = {"crnn": {"channels": list(sizes.channels)}}
    return AlignmentOptions.model_validate(content | crnn | changes)


# --- both sides -------------------------------------------------------------------------------------------------------


class Bench:
    """Both sides on one random data set, which ``folder`` holds as long as it is used."""

    def __init__(self, sizes: Sizes, folder: Path, seed: int = 0):
        self.sizes, self.folder, self.seed = sizes, folder, seed
        self.files = make_data(sizes, folder, seed)
        self.system = AlignmentSystem(options_of(sizes), self.files, seed)
        crnn = self.system.options.crnn
        self.published = audio_caption.Network(sizes.mels, sizes.word_dimension // 2, crnn.dropout, sizes.channels)
        settle(self.system.network, self.system.pairs[0, 0])
        self.share_weights()
        self.clips = Clips(
            [f"evaluation-{number}" for number in range(sizes.clips)],
            {"random": FeatureStore(self.files["evaluation"])},
        )
        self.captions = read_table(self.files["captions"], CAPTIONS)
        self.captions = self.captions[self.captions["clip_id"].isin(self.clips.ids)]
        self.phrases = phrases_of(folder, "evaluation")
        self.references = reference_events(folder, self.phrases)

    def share_weights(self) -> None:
        """Give our weights and statistics to the published network."""
        self.published.load_state_dict(self.system.network.audio_encoder.state_dict())

    def model(self, words: str = "mean") -> AlignmentModel:
        """Our model, with the given pooling of words."""
        system = self.system
        options = options_of(self.sizes, score={"words": words})
        network = copy.copy(system.network.eval())
        network.options = options
        return AlignmentModel(options, network, system.encoder, system.description(), UNTUNED)

    def frames(self) -> dict[str, Tensor]:
        """The frames of the clips, in memory."""
        return {clip: torch.from_numpy(self.clips.store()[clip]) for clip in self.clips.ids}

    def vectors(self, text: str) -> Tensor:
        """Vectors of the words of a text, [Q, D]."""
        return torch.from_numpy(self.system.encoder.encode([text])[0][0])

    # --- training -----------------------------------------------------------------------------------------------

    def batch(self, kind: str = "training", pairs: int | None = None, **changes: Any) -> tuple[AlignmentSystem, Batch]:
        """A system with our weights, and its first batch, of clips of equal or of ``unequal`` lengths."""
        files = self.files | ({"development": self.folder / "unequal.h5"} if kind == "unequal" else {})
        options = options_of(self.sizes, train={"batch_size": pairs or self.sizes.batch}, **changes)
        system = AlignmentSystem(options, files, self.seed)
        system.network.load_state_dict(self.system.network.state_dict())
        return system, system.pairs[0, 0]

    def check_training(self) -> float:
        """Losses and gradients of four pairs agree under the published conventions; the largest difference of losses.

        Clips differ in length, and statistics of the batch take part; dropout does not. The networks are in float64:
        batch normalisation of channels that lie beside each other is less exact in float32 than the published one.
        """
        ours, batch = self.batch("unequal", pairs=4, mask_pads=False)
        batch = batch._replace(frames=batch.frames.double(), words=batch.words.double())
        ours.network.double()
        published = copy.deepcopy(self.published).double()
        losses, gradients = [], []
        loss_of = (lambda: ours.losses(batch)["loss"], lambda: audio_caption.loss_of(published, batch))
        for network, loss in zip((ours.network.audio_encoder, published), loss_of, strict=True):
            network.train()
            network.features[-1].eval()
            losses.append(loss().double())
            losses[-1].backward()
            gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
        torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
        scale = max(float(gradient.abs().max()) for gradient in gradients[0].values())
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5 * scale)
        return abs(float((losses[0] - losses[1]).detach()))

    def training(self, part: str, repetitions: int) -> Row:
        """Time a training step of each side, once untimed: ``training``, ``bf16`` or ``unequal``."""
        system, batch = self.batch(part)
        optimiser = system.optimiser()
        adam = torch.optim.Adam(self.published.parameters(), lr=system.options.optim.lr)
        _, padded = self.batch(part, mask_pads=False)  # pads are 0, as published

        def ours() -> None:
            system.network.train()
            with torch.autocast("cpu", torch.bfloat16, enabled=part == "bf16"):
                loss = system.losses(batch)["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        def theirs() -> None:
            self.published.train()
            loss = audio_caption.loss_of(self.published, padded)
            adam.zero_grad()
            loss.backward()
            adam.step()

        ours()
        theirs()
        return side_by_side(part, ours, theirs, repetitions)[0]

    # --- prediction ---------------------------------------------------------------------------------------------

    def swept(self, phrases: pd.DataFrame, references: dict[str, Any]) -> list[grounding.Evaluation]:
        """Our frame metrics of these phrases over all thresholds, with each pooling of words."""
        found = []
        for pooling in POOLINGS:
            made = self.model(pooling).activations(
                self.clips, list(zip(phrases["clip_id"], phrases["text"], strict=True))
            )
            activations = dict(zip(phrases["phrase_id"], made, strict=True))
            found.append(grounding.evaluate(activations, hop=HOP, metrics="frame", **references))
        return found

    def sed(self, repetitions: int, sample: int) -> Row:
        """Time the sweep over all phrases, the published one on a sample of phrases, thresholds and poolings."""
        chosen = np.random.default_rng(self.seed).choice(len(self.phrases), (sample + 1) // 2, replace=False)
        some, frames = self.phrases.iloc[np.sort(chosen)], self.frames()
        drawn = np.random.default_rng(self.seed).choice(THRESHOLDS, sample)
        asked = []
        for number, threshold in enumerate(drawn):
            phrase, clip, text = some.iloc[number % len(some)]
            events = np.array(self.references["references"][phrase])
            labels = frame_labels(events, HOP)[: self.sizes.frames]
            labels = torch.from_numpy(np.append(labels, np.zeros(self.sizes.frames - len(labels), dtype=bool)))
            asked.append((frames[clip], self.vectors(text), labels, float(threshold), POOLINGS[number // len(some)]))
        self.published.eval()
        whole = len(self.phrases) * len(THRESHOLDS) * len(POOLINGS)
        row, _, found = side_by_side(
            "sed",
            lambda: self.swept(self.phrases, self.references),
            lambda: [audio_caption.counts(self.published, *query) for query in asked],
            repetitions,
            (1, sample / whole),
            f"published: {sample} of {whole:,} passes measured, multiplied",
        )
        self.check_sed(some, [(query[3], query[4]) for query in asked], found)
        return row

    def check_sed(self, some: pd.DataFrame, asked: Sequence[tuple[float, str]], found: Sequence[list[int]]) -> None:
        """Our counts of single phrases are the published ones, but for frames at the threshold but for rounding."""
        for number, ((threshold, pooling), theirs) in enumerate(zip(asked, found, strict=True)):
            phrase = some.iloc[[number % len(some)]]
            evaluation = self.swept(phrase, reference_events(self.folder, phrase))[POOLINGS.index(pooling)]
            there, *counts = evaluation.statistics["frame_f1_best"].columns[0].astype(int).tolist()
            at = 2 * THRESHOLDS.index(threshold)
            ours = [*counts[at : at + 2], there]
            if max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) > 0.01 * self.sizes.frames:
                name = phrase["phrase_id"].item()
                raise AssertionError(f"sed, {name} at {threshold}, {pooling}: ours {ours}, published {theirs}")

    def retrieval(self, repetitions: int, sample: int) -> Row:
        """Time scores and metrics of all captions and clips, the published way on a sample of pairs."""
        owners, texts = list(self.captions["clip_id"]), list(self.captions["text"])
        model, frames, rng = self.model(), self.frames(), np.random.default_rng(self.seed)
        pairs = [(int(rng.integers(len(texts))), int(rng.integers(len(self.clips)))) for _ in range(sample)]
        asked = [(frames[self.clips.ids[clip]], self.vectors(texts[caption])) for caption, clip in pairs]

        def ours() -> np.ndarray:
            similarity = model.similarity(self.clips, texts)
            retrieval.evaluate(similarity, owners, self.clips.ids)
            if len(self.clips) > CANDIDATES:
                retrieval.sampled(similarity, owners, self.clips.ids, candidates=CANDIDATES, repetitions=REPETITIONS)
            return similarity

        self.published.eval()
        whole = REPETITIONS * len(self.clips) * min(CANDIDATES, len(self.clips))
        row, similarity, scores = side_by_side(
            "retrieval",
            ours,
            lambda: [audio_caption.pair_score(self.published, *query) for query in asked],
            repetitions,
            (1, sample / whole),
            f"published: {sample} of {whole:,} pairs measured, multiplied",
        )
        np.testing.assert_allclose([similarity[pair] for pair in pairs], scores, atol=1e-4, err_msg="retrieval")
        return row


def settle(network: Alignment, batch: Batch) -> None:
    """Take BatchNorm's statistics from a batch, so that random weights tell frames apart."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train().embed_audio(batch.frames, batch.lengths)
    for norm in norms:
        norm.momentum = 0.1


# --- an hour of sound -------------------------------------------------------------------------------------------------


def make_recording(folder: Path, minutes: float, mels: int) -> None:
    """``long-{minutes}.h5``: one clip, of which a minute repeats."""
    rng = np.random.default_rng(0)
    minute = random_clip(round(60 / HOP), mels, rng)
    frames = np.tile(minute, (max(1, round(minutes)), 1))[: round(minutes * 60 / HOP)]
    write(folder / f"long-{minutes}.h5", [("long", frames)], mels, provenance("random", settings={}) | {"hop": HOP})


def located(folder: Path, minutes: float, threads: int, channels: Sequence[int]) -> None:
    """Activations of the phrases in ``asked.json`` on a recording, one after another; their seconds as JSON."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    store, encoder = FeatureStore(folder / f"long-{minutes}.h5"), open_encoder(folder / "vectors.h5")
    options = options_of(Sizes(channels=tuple(channels)))
    network = Alignment(options, {"audio": store.dimension, "text": encoder.dimension}).eval()
    model = long_model(options, network, encoder, store)
    queries = [("long", text) for text in json.loads((folder / "asked.json").read_text(encoding="utf-8"))]
    taken, frames = clocked(
        lambda: [len(one) for one in model.activations(Clips(["long"], {"random": store}), queries)]
    )
    content = asdict(taken) | {"phrases": len(frames), "frames": frames[0]}
    (folder / f"located-{minutes}.json").write_text(json.dumps(content), encoding="utf-8")


def long_model(
    options: AlignmentOptions, network: Alignment, encoder: TextEncoder, store: FeatureStore
) -> AlignmentModel:
    """An untrained model for a recording."""
    description = {
        "sizes": {"audio": store.dimension, "text": encoder.dimension},
        "frames": {"hop": store.hop, "window": store.window},
        "feature": {},
    }
    return AlignmentModel(options, network, encoder, description, UNTUNED)


def hour(bench: Bench, minutes: Sequence[float], threads: int) -> dict[str, Any]:
    """Seconds, peak MB of a process, and bytes for each frame more, of a short and a long recording."""
    asked = list(bench.phrases["text"][:ASKED])
    (bench.folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    found: dict[str, Any] = {}
    for length in minutes:
        print(f"{length:g} minutes ...", file=sys.stderr, flush=True)
        make_recording(bench.folder, length, bench.sizes.mels)
        stage = partial(located, minutes=length, threads=threads, channels=bench.sizes.channels)
        peak = peak_of(stage, bench.folder)
        seconds = json.loads((bench.folder / f"located-{length}.json").read_text(encoding="utf-8"))
        found[f"{length:g}"] = seconds | {"mb": peak}
    first, second = found.values()
    more = second["frames"] - first["frames"]
    return {"minutes": found, "bytes_a_frame": (second["mb"] - first["mb"]) * 2**20 / more}


# --- the command line -------------------------------------------------------------------------------------------------


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="threads of computation (default: 2)")
    parser.add_argument("--repetitions", type=int, default=5, help="timed turns of each side (default: 5)")
    parser.add_argument("--sample", type=int, default=20, help="passes measured of the published way (default: 20)")
    parser.add_argument("--quick", action="store_true", help="one repetition")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args(given)


def measure(chosen: argparse.Namespace, sizes: Sizes, minutes: Sequence[float] = MINUTES) -> dict[str, Any]:
    """Measure the parts, and print the results."""
    repetitions = 1 if chosen.quick else chosen.repetitions
    torch.set_num_threads(chosen.threads)
    content: dict[str, Any] = machine(chosen.threads) | {"repetitions": repetitions}
    print(", ".join(f"{name} {value}" for name, value in content.items()), flush=True)
    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        bench = Bench(sizes, Path(folder))
        bench.check_training()
        rows = []
        if "sed" in chosen.parts:
            rows.append(bench.sed(repetitions, chosen.sample))
        if "retrieval" in chosen.parts:
            rows.append(bench.retrieval(repetitions, chosen.sample))
        if "training" in chosen.parts:
            rows += [bench.training(part, repetitions) for part in ("training", "bf16", "unequal")]
        if rows:
            print(table(rows, LABELS, EXPECTED), flush=True)
            if "bf16" in {row.part for row in rows} and "amx_bf16" not in content["flags"]:
                print("bf16-mixed: this processor has no AMX, with which the ratio is expected.")
        content["results"] = [
            asdict(row) | {"ratio": asdict(row.ratio), "expected": EXPECTED[row.part]} for row in rows
        ]
        if "hour" in chosen.parts:
            content["hour"] = found = hour(bench, minutes, chosen.threads)
            for length, one in found["minutes"].items():
                print(f"{length} minutes, {one['phrases']} phrases: {one['wall']:.1f} s, {one['mb']:.0f} MB")
            print(f"{found['bytes_a_frame']:.0f} bytes for each frame more, of which {4 * sizes.mels} are the frame")
    return content


def main() -> None:
    """Run from the command line."""
    chosen = arguments()
    content = measure(chosen, Sizes())
    if chosen.json:
        chosen.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
