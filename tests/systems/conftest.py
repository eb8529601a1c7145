"""A data set of a few short clips, as the stages before training leave it."""

import numpy as np
import pandas as pd
import pytest

from earwitness.corpora.tables import (
    CAPTIONS,
    CLIPS,
    EVENTS,
    PHRASES,
    audio_digest,
    caption_id,
    clips_of,
    phrase_id,
    write_table,
)
from earwitness.features.store import write
from earwitness.options import VocabularyOptions
from earwitness.text.stage import prepare_text

FRAMES, MELS = 48, 64
MADE = {"schema": 1, "made_by": "logmel", "settings": {"hop": 512}}
NOUNS = ["dog", "cat", "car", "bird", "door", "rain", "wind", "bell", "horn"]
SPLITS = {"development": 7, "validation": 3, "evaluation": 4}


def texts_of(number):
    """Captions of a clip: one to four of them, of two to five words."""
    noun = NOUNS[number % len(NOUNS)]
    return [f"a {noun}", f"the {noun} is near", f"a {noun} far away", f"one {noun} and another noise"][: 1 + number % 4]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Files by the names that Cl4acOptions gives them, features of all splits, and their vocabulary."""
    folder = tmp_path_factory.mktemp("corpus")
    clips = [
        (f"{split}/{i}", split, number) for split, count in SPLITS.items() for number, i in enumerate(range(count))
    ]
    rows = [[clip, split, "x.wav", "name", 1.0, 8000, 1, "digest"] for clip, split, _ in clips]
    write_table(folder / "clips.csv", pd.DataFrame(rows, columns=CLIPS))
    captions = {clip: texts_of(number) for clip, _, number in clips}
    rows = [[caption_id(clip, i), clip, text] for clip, texts in captions.items() for i, text in enumerate(texts, 1)]
    write_table(folder / "captions.csv", pd.DataFrame(rows, columns=CAPTIONS))
    phrases = [
        (phrase_id(caption_id(clip, i), 1), caption_id(clip, i), text, 0, len(text.split()))
        for clip, texts in captions.items()
        for i, text in enumerate(texts, 1)
    ]
    write_table(folder / "phrases.csv", pd.DataFrame(phrases, columns=PHRASES))
    # The first phrase of every clip sounds, from its second fifth on.
    events = [(phrase, 0.2, 0.6) for phrase, caption, *_ in phrases if caption.endswith("#1")]
    write_table(folder / "events.csv", pd.DataFrame(events, columns=EVENTS))
    rng = np.random.default_rng(0)
    for split in SPLITS:
        table = clips_of(folder / "clips.csv", split, "the test")
        made = MADE | {"inputs": {"audio": audio_digest(table)}}
        frames = [(clip, rng.normal(size=(FRAMES, MELS))) for clip in table["clip_id"]]
        write(folder / f"{split}.h5", frames, MELS, made, fill=-100.0, frames_per_clip=FRAMES)
    options = VocabularyOptions.model_validate({"word2vec": {"size": 16, "passes": 1}})
    prepare_text(options, folder, {"vocabulary": folder / "vocabulary.json", "word2vec": folder / "word2vec.bin"})
    return {
        "captions": folder / "captions.csv",
        "clips": folder / "clips.csv",
        "vocabulary": folder / "vocabulary.json",
        "word2vec": folder / "word2vec.bin",
        **{split: folder / f"{split}.h5" for split in SPLITS},
    }


@pytest.fixture(scope="session")
def merged():
    """Nested settings over nested settings."""

    def merged(below, above):
        result = dict(below)
        for key, value in above.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
        return result

    return merged
