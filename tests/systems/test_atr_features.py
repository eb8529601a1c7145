"""Audio-Text Retrieval in Context: all six features, of networks with random weights, with all five poolings."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from earwitness.config import validated
from earwitness.corpora.tables import CAPTIONS, CLIPS, caption_id, write_table
from earwitness.features.stage import extract
from earwitness.files import read_json, sha256
from earwitness.systems.atr.options import TEXT_INPUT, AtrOptions
from earwitness.systems.interface import MODEL_FILES
from earwitness.text.options import WordVectorsOptions
from earwitness.text.word_vectors import prepare
from earwitness.training.stage import train_model

FEATURES = {
    "lms": {"extractor": "logmel", "sample_rate": 16000, "mels": 128, "fmax": 8000, "log": "natural", "average": 10},
    "vggish": {"extractor": "vggish", "weights": "untrained"},
    "vggsound": {"extractor": "vggsound", "weights": "untrained"},
    "cnn10": {"extractor": "panns_cnn10", "weights": "untrained"},
    "cnn14": {"extractor": "panns_cnn14", "weights": "untrained"},
    "efficient-latent": {"extractor": "efficient_latent", "weights": "untrained"},
}
POOLINGS = ["mean", "max", "lstm", "netvlad", "netrvlad"]
DIMENSIONS = {"lms": 128, "vggish": 128, "vggsound": 512, "cnn10": 512, "cnn14": 2048, "efficient-latent": 1408}
SPLITS = {"development": 4, "validation": 2}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The features of six noises of 1.5 and 2 s, and the vectors of their captions' words."""
    folder = tmp_path_factory.mktemp("noises")
    rows, captions = [], []
    for number, split in enumerate(split for split, count in SPLITS.items() for _ in range(count)):
        name, seconds = f"{number}.wav", 1.5 + 0.5 * (number % 2)
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, round(seconds * 16000))
        soundfile.write(folder / name, samples * np.sin(np.arange(len(samples)) / (50 * (number + 1))), 16000)
        rows.append([f"{split}/{number}", split, name, "name", seconds, 16000, 1, sha256(folder / name)])
        text = f"noise number {number % 4}"
        captions.append([caption_id(rows[-1][0], 1), rows[-1][0], text])
    write_table(folder / "clips.csv", pd.DataFrame(rows, columns=CLIPS))
    write_table(folder / "captions.csv", pd.DataFrame(captions, columns=CAPTIONS))
    words = WordVectorsOptions.model_validate({"kind": "word_vectors", "word2vec": {"size": 12, "passes": 2}})
    prepare(words, folder, {"vectors": folder / "vectors.h5"})
    found = {name: folder / f"{name}.csv" for name in ("clips", "captions")} | {TEXT_INPUT: folder / "vectors.h5"}
    for name, content in FEATURES.items():
        for split in SPLITS:
            out = found[f"{name} {split}"] = folder / name / f"{split}.h5"
            extract(validated("features", content), folder / "clips.csv", split, folder, out, 1)
    return found


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_trains_with_every_pooling(files, tmp_path, feature, pooling):
    content = {"system": "atr", "features": [feature], "text": "t", "pooling": pooling, "lstm_hidden": 8, "joint": 8}
    options = AtrOptions.model_validate(content | {"clusters": {"audio": 2, "text": 2}, "train": {"epochs": 1}})
    out = {kind: tmp_path / file for kind, file in MODEL_FILES.items()}
    inputs = {name: files[name] for name in options.training_inputs()}
    train_model("noises", "atr", options, 0, inputs, out, tmp_path / "work", threads=1)
    description = read_json(out["description"])
    assert description["network"]["sizes"]["audio"] == [DIMENSIONS[feature]]
    assert 0 <= description["chosen"]["value"] <= 1
