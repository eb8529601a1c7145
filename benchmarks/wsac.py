"""WSAC against a plain version of the published way; and an epoch on all captions of Clotho.

epoch     a training step on captions whose text vectors are read, against the published way: a BERT encodes the batch's
          captions in every step, captions are padded to 22 tokens, and the output layer runs on the pads too.
decoding  captions of a batch of clips, all at once with keys and values kept; the published way takes one clip after
          another and runs the decoder on all tokens so far for each new one, measured on a few clips and multiplied.
corpus    one epoch on Clotho's 19,195 development captions (``--captions``; random words without that table), with
          random vectors of 512 values in place of an untrained CLAP's: captions a second, and peak memory of a process
          with 5,000 captions and with all (Linux).

Weights are random, those of both sides the same; the decoder is the published one (``--small``: two layers of width
256, which ``corpus`` has anyway). The benchmark stops if losses or captions of the two sides differ. Sides alternate;
each figure is the median of the repetitions.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Row, from_command_line, machine, side_by_side, table
from memory import peak_of
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel, GPT2LMHeadModel

from earwitness.corpora.tables import CAPTIONS, CLIPS, caption_id, write_rows
from earwitness.files import atomic_hdf5, provenance
from earwitness.options import DecodingOptions
from earwitness.prediction.decoding import Symbols, decode
from earwitness.systems.interface import MODEL_FILES
from earwitness.systems.wsac.batches import batch_of
from earwitness.systems.wsac.network import Sizes, Wsac, caption_loss
from earwitness.systems.wsac.options import WsacOptions
from earwitness.text.encoders import text_digest, write_attributes
from earwitness.text.options import WordsOptions
from earwitness.text.stage import prepare_words
from earwitness.training.stage import train_model

PARTS = ("epoch", "decoding", "corpus")
LABELS = {"epoch": "training step", "decoding": "captions of a batch"}
EXPECTED = {"epoch": 1.5, "decoding": 20.0}
TABLE = Path(__file__).parents[1] / "../shared/data/captions/clotho_v2/clotho_captions_development.csv"
PAD, START, END = 0, 101, 102
LENGTH, LONGEST = 22, 30  # tokens of a training caption, and of a generated one
SMALL = {"layers": 2, "width": 256}
FEW, CLOTHO = 5000, 19195  # captions


class Bench:
    """Both sides with the same weights.

    Args:
        decoder: options of the decoder; tower: of the BERT that stands for a CLAP's text tower.
        batch: captions of a step, and clips that are decoded at once.
    """

    def __init__(self, decoder: dict[str, Any], tower: dict[str, Any], batch: int = 64, words: int = 30522):
        torch.manual_seed(0)
        self.batch, self.words = batch, words
        options = {"system": "wsac", "decoder": decoder | {"dropout": 0.0}, "legacy_decoding": True}
        self.options = WsacOptions.model_validate(options)
        config = BertConfig(vocab_size=words, **tower)
        self.tower = BertModel(config, add_pooling_layer=False).eval()
        self.network = Wsac(self.options, Sizes(config.hidden_size, words, 0))
        rng = np.random.default_rng(0)
        self.captions = [
            [START, *rng.integers(END + 1, words, rng.integers(8, LENGTH - 1)).tolist(), END] for _ in range(batch)
        ]
        self.vectors = self.encoded(self.captions)  # what ours reads

    @cached_property
    def published(self) -> GPT2LMHeadModel:
        """The published decoder, with our weights."""
        model = GPT2LMHeadModel(self.network.transformer.config)
        model.transformer.load_state_dict(self.network.transformer.state_dict())
        model.tie_weights()
        return model.eval()

    @torch.no_grad()
    def encoded(self, captions: Sequence[Sequence[int]]) -> Tensor:
        """The text vectors of captions, padded to the longest of them: [captions, D]."""
        ids = nn.utils.rnn.pad_sequence([torch.tensor(caption) for caption in captions], batch_first=True)
        states = self.tower(ids, attention_mask=(ids != PAD).long())[0]
        return functional.normalize(states[:, 0], dim=-1)

    # --- a training step ------------------------------------------------------------------------------------------

    def our_step(self) -> float:
        """Loss of a step, with its gradients, as ``WsacSystem`` computes it."""
        self.network.zero_grad()
        batch = batch_of(self.vectors.numpy(), self.captions, PAD)
        states = self.network(batch.vectors, batch.ids)[:, :-1]
        real = torch.arange(batch.ids.shape[1]) < batch.lengths[:, None]
        loss, _ = caption_loss(self.network.word_logits(states[real]), batch.ids[real])
        loss.backward()
        return float(loss.detach())

    def their_step(self) -> float:
        """The same as published."""
        self.published.zero_grad()
        self.network.clap_project.zero_grad()
        ids = torch.tensor([caption + [PAD] * (LENGTH - len(caption)) for caption in self.captions])
        embedded = torch.cat([self.network.prefix(self.encoded(self.captions)), self.published.transformer.wte(ids)], 1)
        logits = self.published(inputs_embeds=embedded, use_cache=False).logits[:, :-1]
        loss = functional.cross_entropy(logits.flatten(0, 1), ids.flatten(), ignore_index=PAD)
        loss.backward()
        return float(loss.detach())

    def epoch(self, repetitions: int) -> Row:
        """Time a step both ways; the losses must agree."""
        row, ours, theirs = side_by_side("epoch", self.our_step, self.their_step, repetitions)
        assert abs(ours - theirs) < 1e-4 * abs(theirs), f"losses differ: {ours} and {theirs}"
        return row

    # --- decoding -------------------------------------------------------------------------------------------------

    @cached_property
    def audio(self) -> Tensor:
        """CLAP vectors of the clips [batch, D]."""
        return functional.normalize(torch.randn(self.batch, self.vectors.shape[1]), dim=-1)

    def our_captions(self) -> list[list[int]]:
        """Token ids of the captions of all clips."""
        return decode(self.network.eval(), self.audio, Symbols(START, END, []), DecodingOptions(), LONGEST)[0]

    @torch.inference_mode()
    def their_captions(self, clips: int) -> list[list[int]]:
        """Those of the first clips, one clip and one token after another."""
        captions = []
        for vector in self.audio[:clips]:
            embedded, tokens = self.network.prefix(vector[None]), list[int]()
            for _ in range(LONGEST):
                logits = self.published(inputs_embeds=embedded, use_cache=False).logits[0, -1]
                tokens.append(int(logits.argmax()))
                if tokens[-1] == END:
                    break
                embedded = torch.cat([embedded, self.published.transformer.wte(torch.tensor([[tokens[-1]]]))], dim=1)
            captions.append([token for token in tokens if token != END])
        return captions

    def decoding(self, repetitions: int, sample: int) -> Row:
        """Time captions of a batch both ways; they must be the same."""
        sample = min(sample, self.batch)
        note = f"published: {sample} of {self.batch} clips, multiplied" if sample < self.batch else ""
        theirs = partial(self.their_captions, sample)
        row, ours, found = side_by_side(
            "decoding", self.our_captions, theirs, repetitions, (1, sample / self.batch), note
        )
        assert ours[:sample] == found, "captions differ"
        return row


# --- an epoch on a whole corpus ---------------------------------------------------------------------------------------


def captions_of(path: Path, count: int | None) -> list[str]:
    """The captions of a Clotho table, or random words where it is absent; at most ``count``."""
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            return [text for row in list(csv.reader(file))[1:] for text in row[1:]][:count]
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(4000)]
    return [" ".join(rng.choice(words, rng.integers(8, 15))) for _ in range(count or CLOTHO)]


def make_corpus(folder: Path, captions: Sequence[str], dimension: int = 512) -> None:
    """Tables, vocabulary and random text vectors of length 1; five captions a clip."""
    clips = [f"{number:05d}.wav" for number in range(-(-len(captions) // 5))]
    write_rows(folder / "clips.csv", CLIPS, ([clip, "development", clip, "name", 1.0, 8000, 1, "x"] for clip in clips))
    rows = ([caption_id(clips[n // 5], n % 5 + 1), clips[n // 5], text] for n, text in enumerate(captions))
    write_rows(folder / "captions.csv", CAPTIONS, rows)
    prepare_words(WordsOptions(kind="words"), folder, {"vocabulary": folder / "vocabulary.json"})
    texts = list(dict.fromkeys(captions))
    rng = np.random.default_rng(0)
    with atomic_hdf5(folder / "vectors.h5") as file:
        vectors = file.create_dataset("vectors", (len(texts), dimension), "float32")
        for start in range(0, len(texts), 1024):
            block = rng.normal(size=(len(texts[start : start + 1024]), dimension))
            vectors[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
        file["offsets"] = np.arange(len(texts) + 1)
        file["digests"] = np.array([text_digest(text) for text in texts], dtype="S32")
        options = {"kind": "sentence", "output": "pooled"}
        contents = {"options": options, "counts": {}, "provenance": provenance("text")}
        write_attributes(file, "sentence", contents, label="random", state="x", dimension=dimension, max_tokens=77)


def trained(folder: Path, decoder: dict[str, Any], threads: int) -> None:
    """Train for an epoch on the captions in a folder; ``seconds.json`` has how long that took."""
    training = {"epochs": 1, "threads": threads}
    options = WsacOptions.model_validate({"system": "wsac", "decoder": decoder, "train": training})
    files = {name: folder / use.file for name, use in options.training_inputs().items()}
    out = {name: folder / file for name, file in MODEL_FILES.items()}
    start = time.perf_counter()
    train_model("random", "wsac", options, 0, files, out, folder / "work", threads)
    (folder / "seconds.json").write_text(json.dumps(time.perf_counter() - start), encoding="utf-8")


def corpus(path: Path, counts: Sequence[int | None], decoder: dict[str, Any], threads: int) -> dict[str, Any]:
    """Seconds and peak MB of an epoch on so many captions, and bytes for each caption more."""
    found = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="earwitness-") as place:
            texts = captions_of(path, count)
            make_corpus(Path(place), texts)
            peak = peak_of(partial(trained, decoder=decoder, threads=threads), Path(place))
            seconds = json.loads((Path(place) / "seconds.json").read_text(encoding="utf-8"))
            found.append({"captions": len(texts), "seconds": seconds, "mb": peak})
    few, many = found[0], found[-1]
    more = (many["mb"] - few["mb"]) * 2**20 / max(1, many["captions"] - few["captions"])
    return {"source": path.name if path.is_file() else "random words", "epochs": found, "bytes_a_caption": more}


# --- the command line -------------------------------------------------------------------------------------------------


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure (default: all)")
    parser.add_argument("--threads", type=int, default=2, help="threads of computation (default: 2)")
    parser.add_argument("--repetitions", type=int, default=3, help="timed turns of each side (default: 3)")
    parser.add_argument("--sample", type=int, default=4, help="clips decoded in the published way (default: 4)")
    parser.add_argument("--captions", type=Path, metavar="CSV", default=TABLE, help="a table as Clotho's are")
    parser.add_argument("--small", action="store_true", help="a decoder of two layers of width 256")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args(given)


def measure(
    chosen: argparse.Namespace,
    counts: Sequence[int | None] = (FEW, None),
    tower: dict[str, Any] | None = None,
    **sizes: Any,
) -> dict[str, Any]:
    """Measure the parts, and print the results; ``sizes`` are of ``Bench``, whose decoder ``decoder`` replaces."""
    torch.set_num_threads(chosen.threads)
    content: dict[str, Any] = machine(chosen.threads) | {"repetitions": chosen.repetitions}
    print(", ".join(f"{name} {value}" for name, value in content.items()), flush=True)
    sizes = {"decoder": SMALL if chosen.small else {}, "tower": {}} | sizes
    rows = []
    if {"epoch", "decoding"} & set(chosen.parts):
        bench = Bench(**sizes)
        rows += [bench.epoch(chosen.repetitions)] if "epoch" in chosen.parts else []
        rows += [bench.decoding(chosen.repetitions, chosen.sample)] if "decoding" in chosen.parts else []
        print(table(rows, LABELS, EXPECTED), flush=True)
    content["results"] = [asdict(row) | {"ratio": asdict(row.ratio), "expected": EXPECTED[row.part]} for row in rows]
    if "corpus" in chosen.parts:
        content["corpus"] = found = corpus(chosen.captions, counts, sizes["decoder"] or SMALL, chosen.threads)
        for one in found["epochs"]:
            rate = one["captions"] / one["seconds"]
            print(f"{one['captions']} captions: {one['seconds']:.0f} s, {rate:.0f} a second, {one['mb']:.0f} MB")
        print(f"{found['bytes_a_caption']:.0f} bytes for each caption more; its vector has 2048 ({found['source']})")
    return content


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        from_command_line(arguments, measure)
