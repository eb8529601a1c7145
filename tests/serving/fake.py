"""Models without training: clips are the loudness of their mel bands, "band 5" is the text of one band."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from safetensors.numpy import load_file

from earwitness.options import ExperimentOptions, TrainingOptions
from earwitness.systems.interface import Captioner, DualEncoder, Grounder, System, read_model

BANDS = 16


class BandsOptions(ExperimentOptions):
    KINDS = ("retrieval",)

    system: Literal["bands"]
    train: TrainingOptions = TrainingOptions()

    def training_inputs(self):
        return {}

    def prediction_inputs(self):
        return {}


class NoDualOptions(BandsOptions):
    KINDS = ("captioning",)

    system: Literal["no_dual"]


class LocatorOptions(BandsOptions):
    KINDS = ("grounding", "retrieval")

    system: Literal["locator"]


class BandsSystem(System):
    @classmethod
    def load(cls, options, folder, files):
        return Bands(read_model(folder)["network"]["features"], load_file(folder / "model.safetensors")["scale"])


class NamerOptions(BandsOptions):
    KINDS = ("captioning",)

    system: Literal["namer"]


class NamerSystem(System):
    @classmethod
    def load(cls, options, folder, files):
        return Namer(read_model(folder)["network"]["features"])


class Namer(Captioner):
    """The loudest band and its level; it fails where that is band 0."""

    batches: list[list[str]] = []  # names of the clips that any model was given together

    def __init__(self, made_by):
        self.made_by = made_by

    def caption(self, clips):
        Namer.batches.append([clip.rpartition("/")[2] for clip in clips.ids])
        for frames in clips.frames():
            means = frames.mean(axis=0)
            if means.argmax() == 0:
                raise RuntimeError("band 0 is too low\nsecond line")
            yield f"band {means.argmax()}", float(means.max())

    def remarks(self):
        return ["a remark"]


class NoDualSystem(System):
    @classmethod
    def load(cls, options, folder, files):
        return NoDual()


class NoDual(Captioner):
    def caption(self, clips):
        yield from ()


class Bands(DualEncoder):
    embedded: list[str] = []  # ids of all clips that any model embedded

    def __init__(self, made_by, scale):
        self.made_by, self.scale = made_by, scale

    def embed_clips(self, clips):
        Bands.embedded += clips.ids
        parts = []
        for name in self.made_by:
            store = clips.store(name)
            assert store.front_end["settings"] == self.made_by[name]["settings"] and store.hop == 0.01
            power = np.stack([(10 ** (frames / 10)).mean(axis=0) for frames in clips.frames(name)])
            parts.append(power / np.linalg.norm(power, axis=1, keepdims=True))
        return np.concatenate(parts, axis=1).astype(np.float32) * self.scale

    def embed_texts(self, texts):
        vectors = np.zeros((len(texts), BANDS * len(self.made_by)), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for number in re.findall(r"\d+", text):
                vector[int(number)] = 1
        return vectors * (np.nan if "nan" in texts else 1)


class LocatorSystem(System):
    @classmethod
    def load(cls, options, folder, files):
        model = read_model(folder)
        return Locator(model["network"]["features"], load_file(folder / "model.safetensors")["scale"])


class Locator(Grounder):
    """The share of a frame's power that is in a band, for each band of a text; "gone" gives an infinite activation."""

    hop, threshold, median_filter = 0.01, 0.5, 3
    longest = 0  # frames of the longest piece that any model was given

    def __init__(self, made_by, scale):
        self.made_by, self.scale = made_by, scale

    def unknown(self, text):
        words = [word for word in text.split() if not re.fullmatch(r"bands?|\d+|gone", word)]
        return None if len(words) == len(text.split()) else words

    def activations(self, clips, queries):
        for clip, text in queries:
            frames = clips.store("mel")[clip]
            Locator.longest = max(Locator.longest, len(frames))
            power = 10 ** (frames / 10)
            bands = [int(number) for number in re.findall(r"\d+", text)]
            share = power[:, bands].sum(axis=1) / power.sum(axis=1)
            share *= power.sum(axis=1) > 1e-6  # silence is of no band
            yield np.full_like(share, np.inf) if "gone" in text else share.astype(np.float32) * self.scale
