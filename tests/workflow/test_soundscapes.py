"""Real recordings go through the whole DAG with nothing but data-set entries, whatever layout their tables have."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest
import yaml

from earwitness.corpora.tables import CAPTIONS, CLIPS, PHRASES, read_table
from earwitness.files import read_json
from tests.places import SHARED_DATA
from tests.workflow.conftest import Workflow

REAL = SHARED_DATA / "soundscapes"
SPLITS = ("development", "validation", "evaluation")

pytestmark = pytest.mark.workflow

SIZES = {
    "features": {"logmel-cl4ac": {"sample_rate": 32000, "hop": 1024, "seconds": 10}},
    "texts": {"cl4ac": {"word2vec": {"passes": 5}}},
    "systems": {
        "cl4ac": {
            "encoder": {"channels": [4, 8, 16, 32]},
            "decoder": {"feedforward": 64},
            "train": {"batching": "grouped", "batch_size": 8, "epochs": 1, "threads": 2},
        }
    },
}
ENTRIES = {
    "soundscapes": {"layout": "clotho", "audio": str(REAL), "experiments": ["cl4ac"], "overrides": SIZES},
    "soundscapes-captions": {"layout": "audiocaps", "audio": str(REAL), "tables": str(REAL / "audiocaps")},
    "soundscapes-grounding": {"layout": "audiogrounding", "audio": str(REAL), "tables": str(REAL / "audiogrounding")},
}


@pytest.fixture(scope="module")
def soundscapes(tmp_path_factory) -> Workflow:
    """The corpora of the three layouts, and one result."""
    if not REAL.exists():
        pytest.skip("the real recordings of ../shared/data are not here")
    workflow = Workflow(tmp_path_factory.mktemp("soundscapes"))
    config = workflow / "soundscapes.yaml"
    config.write_text(yaml.safe_dump({"datasets": ENTRIES, "spice": {"jars": "off"}}), encoding="utf-8")
    corpora = [f"results/{name}/corpus/leaks.json" for name in ENTRIES]
    workflow.run("results/soundscapes/cl4ac/metrics.json", *corpora, configfile=config)
    return workflow


def table(workflow, name, file, columns):
    return read_table(workflow / f"results/{name}/corpus/{file}.csv", columns)


def test_soundscapes_give_a_result(soundscapes):
    result = read_json(soundscapes / "results/soundscapes/cl4ac/metrics.json")
    assert result["counts"]["clips_scored"] == 100
    assert result["metrics"]["bleu_1"]["value"] > 0
    vocabulary = read_json(soundscapes / "results/soundscapes/text/cl4ac/vocabulary.json")
    assert 300 < len(vocabulary["tokens"]) < 700
    assert vocabulary["counts"]["training_captions"] == 1500


@pytest.mark.parametrize(
    ("name", "captions", "phrases"),
    [
        ("soundscapes", (1500, 300, 500), None),
        ("soundscapes-captions", (300, 300, 500), None),
        ("soundscapes-grounding", (300, 120, 200), (723, 287, 471)),
    ],
)
def test_counts_of_each_layout(soundscapes, name, captions, phrases):
    report = read_json(soundscapes / f"results/{name}/corpus/report.json")
    for split, clips in zip(SPLITS, (300, 60, 100), strict=True):
        counts = report["clips"][split]
        assert (counts["listed"], counts["found"], counts["missing"], counts["refused"]) == (clips, clips, 0, 0)
        assert counts["seconds"] == pytest.approx(10 * clips, abs=0.01 * clips)
    assert tuple(report["captions"].values()) == captions
    found = {split: counted["phrases"] for split, counted in report.get("phrases", {}).items()}
    assert found == (dict(zip(SPLITS, phrases, strict=True)) if phrases else {})
    if phrases:
        assert len(table(soundscapes, name, "phrases", PHRASES)) == sum(phrases)


def test_the_layouts_hold_the_same_audio(soundscapes):
    held = {}
    for name in ENTRIES:
        clips = table(soundscapes, name, "clips", CLIPS)
        held[name] = set(zip(clips["split"], clips["sha256"], strict=True))
    assert len(held["soundscapes"]) == 460
    assert held["soundscapes"] == held["soundscapes-captions"] == held["soundscapes-grounding"]


@pytest.mark.parametrize("name", ["soundscapes-captions", "soundscapes-grounding"])
def test_every_caption_is_among_the_clips_five(soundscapes, name):
    five = captions_by_audio(soundscapes, "soundscapes")
    assert {len(texts) for texts in five.values()} <= {4, 5}
    for audio, texts in captions_by_audio(soundscapes, name).items():
        assert texts <= five[audio]


def captions_by_audio(workflow, name):
    """The captions of each recording, in lower case and without punctuation."""
    clips = table(workflow, name, "clips", CLIPS)
    audio = dict(zip(clips["clip_id"], clips["sha256"], strict=True))
    found = defaultdict(set)
    for caption in table(workflow, name, "captions", CAPTIONS).itertuples():
        found[audio[caption.clip_id]].add(" ".join(re.sub(r"[^\w\s]", "", caption.text.lower()).split()))
    return found
