"""CL4AC's training step and decoding against a plain version of the published way, both in one run.

Three parts, each on random clips of 30 s (2584 x 64) with random weights, so that only the cost means something:

faithful   one training step on pairs of clip and caption. Ours encodes each clip once for its own and its unpaired
           caption and decodes both in one pass, padded to the longest of the batch; the published way runs the whole
           network twice on captions padded to 35.
grouped    the same, but ours takes batch_size clips with all their five captions; time is divided by the captions.
decoding   greedy captions of a batch. Ours encodes once, keeps keys and values, and stops when all captions have
           ended; the published way runs the whole network again for each of 35 words. Random weights hardly ever
           generate <eos>, so the word head's row of <eos> is set such that the captions end after 10 to 14 words, 12 on
           average, as Clotho's do; the published way takes 35 steps whatever it generates.

Both sides share their weights, and before anything is timed it is checked that they compute the same logits and losses,
and after decoding that they generated the same captions. Sides alternate (ours, published, ours, published, ...); each
figure is the median of the repetitions, in seconds of the wall clock and of the processor.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import published
import torch
from common import Row, side_by_side, table
from torch import Tensor

from earwitness.corpora.tables import CAPTIONS, CLIPS, audio_digest, caption_id, write_table
from earwitness.features.store import write
from earwitness.files import digest, provenance
from earwitness.options import DecodingOptions, VocabularyOptions
from earwitness.prediction.decoding import Symbols, decode
from earwitness.systems.cl4ac.batches import Batch, TrainingBatches
from earwitness.systems.cl4ac.network import Cl4ac
from earwitness.systems.cl4ac.options import Cl4acOptions, LossOptions
from earwitness.systems.cl4ac.system import Cl4acSystem, caption_memory
from earwitness.text.vocabulary import EOS, SOS, Vocabulary

PARTS = {"faithful": "training step", "grouped": "training step, per caption", "decoding": "decoding, per batch"}
EXPECTED = {"faithful": 1.8, "grouped": 4.0, "decoding": 20.0}
CAPTIONS_OF_A_CLIP = 5
LENGTHS = (10, 12, 14, 12)  # words of the generated captions, clip after clip
QUICK_STEPS = 5
UNMASKED = LossOptions(mask_padding=False, padded_length=published.WORDS)  # the published caption loss
MEMORY_SCALE = 10
MARGIN = 1.0  # by which <eos> loses before a caption's end and wins at it


@dataclass(frozen=True)
class Sizes:
    """The network and its inputs; the defaults are the published ones."""

    batch: int = 4
    frames: int = 2584
    mels: int = 64
    vocabulary: int = 4375
    channels: tuple[int, ...] = (64, 128, 256, 512)
    inner: int = 2048  # width of the decoder's feed-forward layers


class Bench:
    """Both networks on one synthetic data set, which ``folder`` holds as long as it is used."""

    def __init__(self, sizes: Sizes, folder: Path, seed: int = 0):
        self.sizes, self.seed = sizes, seed
        files = make_data(sizes, folder, np.random.default_rng(seed))
        self.system = Cl4acSystem(options_of(sizes), files, seed)
        self.published = published.PublishedCl4ac(sizes.mels, sizes.channels, sizes.vocabulary, inner=sizes.inner)
        self.share_weights()

    def share_weights(self) -> None:
        """Give our weights and statistics to the published network."""
        self.published.load_state_dict(self.system.network.state_dict())

    def batch(self, **changes: Any) -> Batch:
        """The first batch of the first epoch, with some options changed."""
        options = changed(self.system.options, **changes)
        system = self.system
        return TrainingBatches(system.development, system.batches.captions, system.vocabulary, options, self.seed)[0, 0]

    # --- training -----------------------------------------------------------------------------------------------

    def check_training(self) -> float:
        """Both losses of a batch of two and their gradients agree, without dropout; the largest difference found."""
        batch = self.batch(loss=UNMASKED, batch_size=2)
        ours = copy.copy(self.system)
        ours.options = changed(self.system.options, loss=UNMASKED)
        self.system.network.eval()
        self.published.eval()
        losses = [ours.losses(batch)["loss"], self.published_loss(batch)]
        gradients = []
        for network, value in zip((self.system.network, self.published), losses, strict=True):
            network.zero_grad()
            value.backward()
            gradients.append({name: parameter.grad for name, parameter in network.named_parameters()})
        torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)
        scale = max(float(gradient.abs().max()) for gradient in gradients[0].values())
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4 * scale)
        return abs(losses[0].item() - losses[1].item())

    def published_loss(self, batch: Batch) -> Tensor:
        """The published loss of a batch of pairs."""
        return published.loss(self.published, batch.frames, batch.ids, batch.negative_ids, self.system.vocabulary.eos)

    def training(self, part: str, repetitions: int) -> Row:
        """Time a training step of each side: ``faithful`` or ``grouped``."""
        system = self.system
        batch, pairs = self.batch(batching="grouped" if part == "grouped" else "pairs"), self.batch(loss=UNMASKED)
        rates = system.options.optim
        adam = torch.optim.Adam(self.published.parameters(), lr=rates.lr, weight_decay=rates.weight_decay)
        clip = system.options.train.gradient_clip
        ours = stepper(system.network, system.optimiser(), lambda: system.losses(batch)["loss"], clip)
        theirs = stepper(self.published, adam, lambda: self.published_loss(pairs), clip)
        for step in (ours, theirs):  # once untimed
            step()
        captions = (len(batch.ids), len(pairs.ids)) if part == "grouped" else (1, 1)
        return side_by_side(part, ours, theirs, repetitions, captions)[0]

    # --- decoding -----------------------------------------------------------------------------------------------

    def prepare_decoding(self) -> Tensor:
        """Let captions follow the audio and end after ``LENGTHS`` words; the clips to caption."""
        frames = self.batch().frames
        network, vocabulary = self.system.network, self.system.vocabulary
        let_audio_matter(network, frames)
        with torch.inference_mode():
            memory = network.encode(frames)
        lengths = torch.tensor([LENGTHS[clip % len(LENGTHS)] for clip in range(len(frames))])
        end_captions(network, memory, Symbols(vocabulary.sos, vocabulary.eos, []), lengths)
        self.share_weights()
        return frames

    def ours_greedy(self, frames: Tensor) -> list[list[int]]:
        """Our captions, as prediction makes them."""
        with torch.inference_mode():
            memory = self.system.network.encode(frames)
        return caption_memory(self.system.network, self.system.vocabulary, self.system.options.decode, memory)[0]

    def published_greedy(self, frames: Tensor, steps: int) -> list[list[int]]:
        """The published captions, each cut at its first <eos>."""
        vocabulary = self.system.vocabulary
        rows = published.greedy(self.published, frames, vocabulary.sos, vocabulary.eos, steps).tolist()
        return [row[: row.index(vocabulary.eos)] if vocabulary.eos in row else row for row in rows]

    def check_logits(self) -> float:
        """Word and match logits of a batch of captions agree at all positions; the largest difference found."""
        batch, network = self.batch(), self.system.network
        inputs = batch.ids[:, :-1]
        with torch.inference_mode():
            hidden = network.hidden(inputs, network.encode(batch.frames), batch.clip_of_row)
            ours = network.word_head(hidden), network.match_logits(hidden, batch.words)
            theirs = self.published(batch.frames, inputs, self.system.vocabulary.eos)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
        return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))

    def decoding(self, repetitions: int, steps: int = published.WORDS) -> tuple[Row, list[list[int]]]:
        """Time greedy decoding of each side, the published one for ``steps`` steps, scaled to 35; and our captions."""
        frames = self.prepare_decoding()
        self.system.network.eval()
        self.published.eval()
        self.check_logits()
        row, ours, theirs = side_by_side(
            "decoding",
            lambda: self.ours_greedy(frames),
            lambda: self.published_greedy(frames, steps),
            repetitions,
            (1, steps / published.WORDS),
            f"published: {steps} of {published.WORDS} steps measured, scaled" if steps < published.WORDS else "",
        )
        if [caption[:steps] for caption in ours] != theirs:
            raise AssertionError(f"The captions differ: ours {ours}, published {theirs}")
        return row, ours


def options_of(sizes: Sizes) -> Cl4acOptions:
    """The experiment ``cl4ac`` at its defaults, but for sizes and word vectors."""
    content = {
        "system": "cl4ac",
        "feature": "random",
        "text": "random",
        "encoder": {"channels": list(sizes.channels)},
        "decoder": {"feedforward": sizes.inner, "identical_layers": True},
        "embedding": {"init": "uniform"},
        "train": {"batch_size": sizes.batch},
        "decode": {"max_words": published.WORDS - 1},
    }
    return Cl4acOptions.model_validate(content)


def changed(options: Cl4acOptions, loss: LossOptions | None = None, **train: Any) -> Cl4acOptions:
    """Options with another loss or other training settings."""
    return options.model_copy(update={"loss": loss or options.loss, "train": options.train.model_copy(update=train)})


def make_data(sizes: Sizes, folder: Path, rng: np.random.Generator) -> dict[str, Path]:
    """The files that training reads: random clips and captions, two batches of clips and one for validation."""
    tokens = (SOS, EOS, *(f"word{number}" for number in range(sizes.vocabulary - 2)))
    names = ("clips.csv", "captions.csv", "development.h5", "validation.h5", "vocabulary.json")
    files = {name.split(".")[0]: folder / name for name in names}
    splits = {"development": 2 * sizes.batch, "validation": 2}
    clip_ids = [(f"{split}/{number}", split) for split, count in splits.items() for number in range(count)]
    rows = [[clip, split, f"{clip}.wav", "name", 30.0, 44100, 1, clip] for clip, split in clip_ids]
    clips = pd.DataFrame(rows, columns=CLIPS)
    numbered = [(clip, number) for clip, _ in clip_ids for number in range(1, CAPTIONS_OF_A_CLIP + 1)]
    captions = [[caption_id(clip, number), clip, random_caption(tokens, rng)] for clip, number in numbered]
    write_table(files["clips"], clips)
    write_table(files["captions"], pd.DataFrame(captions, columns=CAPTIONS))
    for split in splits:
        of_split = clips[clips["split"] == split]
        made_from = provenance("random") | {"inputs": {"audio": audio_digest(of_split)}}
        frames = ((clip, random_clip(sizes, rng)) for clip in of_split["clip_id"])
        write(files[split], frames, sizes.mels, made_from, frames_per_clip=sizes.frames)
    vocabulary = Vocabulary(tokens, max_words=20, options=VocabularyOptions(pad_is_eos=True))
    made_from = provenance("random", {"captions": files["captions"]})
    made_from["inputs"]["training_clips"] = digest([clip for clip, split in clip_ids if split == "development"])
    vocabulary.write(files["vocabulary"], made_from, {})
    return files


def random_clip(sizes: Sizes, rng: np.random.Generator) -> np.ndarray:
    """A log-mel spectrogram in decibels: noise with a spectrum of its own that swells and fades."""
    spectrum = rng.normal(0, 10, sizes.mels)
    loudness = np.repeat(rng.normal(0, 10, -(-sizes.frames // 32)), 32)[: sizes.frames, None]
    return (-40 + spectrum + loudness + rng.normal(0, 5, (sizes.frames, sizes.mels))).astype(np.float32)


def random_caption(tokens: tuple[str, ...], rng: np.random.Generator) -> str:
    """Random words, as many as a caption of Clotho has: 8 to 20, 11.3 on average."""
    words = int(np.clip(np.rint(rng.gamma(3, 1.4) + 7.4), 8, 20))
    return " ".join(tokens[number] for number in rng.integers(2, len(tokens), words))


def stepper(
    network: torch.nn.Module, optimiser: torch.optim.Optimizer, loss: Callable[[], Tensor], clip: float
) -> Callable[[], None]:
    """One training step as a function without arguments."""

    def step() -> None:
        network.train()
        optimiser.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimiser.step()

    return step


@torch.no_grad()
def let_audio_matter(network: Cl4ac, frames: Tensor) -> None:
    """Take BatchNorm's statistics from the clips and enlarge the memory, so that random weights tell clips apart."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    network.encode(frames)
    network.eval()
    for norm in norms:
        norm.momentum = 0.1
    network.encoder.fc2.weight *= MEMORY_SCALE


@torch.no_grad()
def end_captions(network: Cl4ac, memory: Tensor, symbols: Symbols, lengths: Tensor) -> None:
    """Set the word head's row of <eos> such that the greedy caption of clip i ends after ``lengths[i]`` words."""
    positions = torch.arange(int(lengths.max()) + 1)
    endless = Symbols(symbols.sos, symbols.eos, forbidden=[symbols.eos])
    words, _ = decode(network, memory, endless, DecodingOptions(), max_words=len(positions) - 1)
    inputs = torch.tensor([[symbols.sos, *caption[:-1]] for caption in words])
    states = network.hidden(inputs, memory, torch.arange(len(memory)))  # [clips, positions, width]
    others = network.word_head(states).index_fill(2, torch.tensor(symbols.eos), -torch.inf).amax(dim=2)
    ends = positions == lengths[:, None]
    wanted = torch.where(ends, others + MARGIN, others - MARGIN)
    used = positions <= lengths[:, None]
    known = torch.cat([states[used], torch.ones(int(used.sum()), 1)], dim=1).double()
    row = torch.linalg.lstsq(known, wanted[used].double()[:, None], driver="gelsd").solution[:, 0].float()
    network.word_head.weight[symbols.eos] = row[:-1]
    network.word_head.bias[symbols.eos] = row[-1]


def run(sizes: Sizes, parts: list[str], repetitions: int, steps: int = published.WORDS) -> list[Row]:
    """Check that both sides compute the same thing, then time the parts."""
    with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:
        bench = Bench(sizes, Path(folder))
        rows = []
        if set(parts) & {"faithful", "grouped"}:
            bench.check_training()
        for part in parts:
            timed = bench.decoding(repetitions, steps)[0] if part == "decoding" else bench.training(part, repetitions)
            rows.append(timed)
        bench.system.development.close()
        return rows


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to time (default: all)")
    parser.add_argument("--batch", type=int, default=4, help="clips in a batch, 4 to 8 (default: 4)")
    parser.add_argument("--threads", type=int, default=2, help="threads of computation (default: 2)")
    parser.add_argument("--repetitions", type=int, default=3, help="timed runs of each side (default: 3)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"decoding: measure {QUICK_STEPS} of the published way's 35 equal steps and scale (the table says so)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    steps = QUICK_STEPS if chosen.quick else published.WORDS
    rows = run(Sizes(batch=chosen.batch), chosen.parts, chosen.repetitions, steps)
    setting = {"batch": chosen.batch, "threads": chosen.threads, "repetitions": chosen.repetitions}
    setting["torch"] = torch.__version__
    print(", ".join(f"{name} {value}" for name, value in setting.items()), table(rows, PARTS, EXPECTED), sep="\n\n")
    if chosen.json:
        results = [asdict(row) | {"ratio": asdict(row.ratio), "expected": EXPECTED[row.part]} for row in rows]
        content = setting | {"results": results}
        chosen.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
