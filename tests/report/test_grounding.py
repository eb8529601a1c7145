"""The grounding section of the comparison page and pictures, from activations made by hand."""

import json
import re
from html.parser import HTMLParser

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from earwitness.audio.sound import AudioError
from earwitness.cli.main import main
from earwitness.corpora.report import REPORT_SCHEMA
from earwitness.corpora.tables import CAPTIONS, CLIPS, EVENTS, PHRASES
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.report import pictures, plots
from earwitness.report.comparison import write_comparison
from earwitness.report.grounding import Corpus, Predicted, file_name, write_pictures

HOP = 0.02
EVIL = "</script><b>a dog</b> & 'rain'"
CLIP_IDS = ["one <ü>.wav", "two.wav", "mute.wav", "three.wav"]  # the third has no phrase
WORDS = ["a", "dog", "barks", "<rain>"]


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_table(path, columns, rows):
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)


def write_corpus(corpus):
    corpus.mkdir(parents=True)
    write_table(corpus / "clips.csv", CLIPS, [(c, "evaluation", c, "name", 1.0, 8000, 1, "") for c in CLIP_IDS])
    captions = [
        (f"{clip}#{n}", clip, EVIL if n == 1 else f"caption {n} of {clip}") for clip in CLIP_IDS for n in (1, 2)
    ]
    write_table(corpus / "captions.csv", CAPTIONS, captions)
    phrases, events = [], []
    for caption, clip, _ in captions:
        for place, text in enumerate(("a <dog>", "rain") if clip != "mute.wav" else (), start=1):
            phrases.append((f"{caption}.{place}", caption, text, 0, 1))
            if place == 1:  # the other phrase is silent
                events += [(f"{caption}.1", 0.1, 0.4), (f"{caption}.1", 0.6, 0.7)]
    write_table(corpus / "phrases.csv", PHRASES, phrases)
    write_table(corpus / "events.csv", EVENTS, events)
    counts = {"listed": 4, "found": 4, "missing": 0, "refused": 0, "seconds": 4.0}
    report = {"schema": REPORT_SCHEMA, "clips": {"evaluation": counts}, "refused": []}
    write_json(corpus / "report.json", report | {"captions": {"evaluation": 8}, "ids_sha256": {"evaluation": "abc"}})
    return [phrase for phrase, *_ in phrases]


def write_grounding(seed, phrases, words=True):
    """The files of the kind: activations that rise from 0 to 0.5 in each clip's 50 frames, found from 0.6 s on."""
    seed.mkdir(parents=True, exist_ok=True)
    text = h5py.string_dtype()
    with h5py.File(seed / "activations.h5", "w") as file:
        one = np.linspace(0, 0.5, 50, dtype=np.float32)
        one[25] = 0.5  # a frame that the median filter takes away
        file["activations"] = np.tile(one, len(phrases))
        file["offsets"] = np.arange(len(phrases) + 1) * 50
        file.create_dataset("phrase_ids", data=phrases, dtype=text)
        file.attrs.update(hop=HOP, threshold=0.3, median_filter=3)
    write_table(seed / "events.csv", EVENTS, [(phrase, 0.6, 1.0) for phrase in phrases if phrase.endswith(".1")])
    captions = [f"{clip}#1" for clip in CLIP_IDS if clip != "mute.wav"] if words else []
    with h5py.File(seed / "alignment.h5", "w") as file:
        n, size = len(captions), 50 * len(WORDS)
        file.create_dataset("caption_ids", (n,), text, data=captions or None)
        file["frames"] = np.full(n, 50, dtype=np.int64)
        file.create_dataset("words", (n * len(WORDS),), text, data=WORDS * n or None)
        file["word_offsets"], file["value_offsets"] = np.arange(n + 1) * len(WORDS), np.arange(n + 1) * size
        file["values"] = np.tile(np.linspace(0, 1, size, dtype=np.float16), n)
        file.attrs["hop"] = HOP


def make_results(folder):
    phrases = write_corpus(folder / "corpus")
    write_json(folder / "baselines" / "grounding.json", {"baselines": []})
    for number, name in enumerate(("first", "second")):
        metrics = {n: {"value": 0.5, "ci95": [0.4, 0.8], "per_seed": [0.5]} for n in ("psds", "miou")}
        content = {"schema": 2, "dataset": folder.name, "experiment": name, "seeds": [3], "metrics": metrics}
        content |= {"counts": {"ids_sha256": "abc"}, "kinds": {"grounding": {"metrics": list(metrics), "counts": {}}}}
        content |= {"provenance": {"weights_sha256": ["x"], "checkpoints": {}, "options": {}}}
        write_json(folder / name / "metrics.json", content)
        seed = folder / name / "seed-3"
        values = np.linspace(0.1, 0.9, 5).tolist()
        curve = {"thresholds": values, "precision": values, "recall": values[::-1], "f1": [0.5] * 5}
        scores = {"metrics": metrics} | ({"curves": {"frame": curve}} if number == 0 else {})
        write_json(seed / "grounding" / "metrics.json", scores)
        scored = [clip for clip in CLIP_IDS if clip != "mute.wav"]
        table = pd.DataFrame({"clip_id": scored, "miou": [0.2, np.nan, 0.8]})
        table.to_csv(seed / "grounding" / "scores.csv", index=False)
        write_grounding(seed, phrases, words=number == 0)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    for clip_id in CLIP_IDS:
        soundfile.write(folder / clip_id, 0.1 * generator.standard_normal(8000), 8000)
    return folder


@pytest.fixture
def results(tmp_path):
    return make_results(tmp_path / "some-data")


def made(results, root):
    write_comparison(results, ["first", "second"], root, results / "comparison.html")
    return (results / "comparison.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory, root):
    folder = make_results(tmp_path_factory.mktemp("results") / "some-data")
    text = made(folder, root)
    assert {f"frame-{name}.svg" for name in ("f1", "precision", "recall")} <= {p.name for p in folder.glob("plots/*")}
    return text


class Tags(HTMLParser):
    """Collects tags that are never closed, or closed in another order; elements in SVG close as in XML."""

    VOID = ("meta", "img", "input", "br", "link", "hr")

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))


def test_the_page_is_well_formed_and_needs_nothing_else(page):
    tags = Tags()
    tags.feed(page)
    assert not tags.wrong and not tags.open
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "<b>a dog</b>" not in page and "<dog>" not in page and "<rain>" not in page


def articles_of(page):
    return re.findall(r'<article class="clip card located".*?</article>', page, flags=re.DOTALL)


def test_clips_go_from_the_best_to_the_worst_of_the_first_experiment(page):
    names = [re.search(r"<small>(.*?) ·", article)[1] for article in articles_of(page)]
    assert names == ["three.wav", "one &lt;ü&gt;.wav", "two.wav"]  # the last one has no value


def test_segments_stand_where_they_are_in_time(page):
    article = articles_of(page)[0]
    first = article[: article.index("more caption")]
    annotated = re.findall(r'class="bar" style="left: ([\d.]+)%; width: ([\d.]+)%" title="(.*?)"', first)
    assert annotated == [("10.00", "30.00", "0.10 to 0.40 s"), ("60.00", "10.00", "0.60 to 0.70 s")]
    found = re.findall(r'class="bar" style="left: ([\d.]+)%; width: ([\d.]+)%; background: (.*?)"', first)
    assert found == [("60.00", "40.00", "var(--c0)"), ("60.00", "40.00", "var(--c1)")]
    assert first.count("IoU 0.14<br>") == 2  # 0.1 s of 0.7 s
    assert "no located sound" in first and first.count("<path") == 4  # two phrases by two experiments
    assert first.count('class="words"') == 1  # the second experiment does not tell words apart
    assert "1 more caption of this clip" in article and "caption 2 of three.wav" in article
    assert "data-seconds" in first and 'class="playhead"' in first and "<audio" in first


def test_an_experiment_is_chosen_where_several_are_shown(page, results, root):
    assert re.findall(r'<option value="(\d)">(.*?)</option>', page.split("grounding-choice")[1]) == [
        ("0", "first"), ("1", "second"),
    ]  # fmt: skip
    assert "median filter of 3 frames" in page
    (results / "second/seed-3/activations.h5").unlink()
    alone = made(results, root)
    assert 'id="grounding-choice"' not in alone and "Not shown: second" in alone


def test_a_page_without_activations_or_phrases_has_no_clips(results, root):
    for name in ("first", "second"):
        (results / name / "seed-3/activations.h5").unlink()
    text = made(results, root)
    assert not articles_of(text) and "Frames over thresholds" in text
    write_grounding(results / "first/seed-3", [])
    write_table(results / "corpus/phrases.csv", PHRASES, [])
    assert not articles_of(made(results, root))


def test_activations_of_another_corpus_are_refused(results, root):
    write_grounding(results / "first/seed-3", ["x"])
    with pytest.raises(MismatchError, match=r"three.wav#1.1(?s:.)*activations\.h5"):
        made(results, root)


def test_activations_are_smoothed_as_in_scoring(results):
    predicted = Predicted(results / "first/seed-3")
    (values,) = predicted.activations(["two.wav#1.1"]).values()
    assert values[25] < 0.3 and len(values) == 50
    words, map_ = predicted.alignments["two.wav#1"]
    assert words == WORDS and map_.shape == (50, 4) and map_[0, 1] < map_[0, 3]
    assert Predicted(results / "second/seed-3").alignments == {}


def test_the_threshold_of_frames_is_marked_on_their_curves(results, root, monkeypatch):
    with h5py.File(results / "first/seed-3/activations.h5", "r+") as file:
        file.attrs["frame_threshold"] = 0.625
    marked = []
    monkeypatch.setattr(plots, "threshold_plot", lambda name, title, curves: marked.append(curves[0][3]) or "")
    made(results, root)
    assert marked == [0.625] * 3 and Predicted(results / "second/seed-3").frame_threshold == 0.3


def test_the_corpus_has_the_captions_with_phrases(results):
    captions = Corpus(results / "corpus").captions
    assert [caption.caption_id for caption in captions[:2]] == ["one <ü>.wav#1", "one <ü>.wav#2"]
    assert len(captions) == 6 and captions[0].phrases[1][1] == "rain"


def test_pictures_of_all_captions(results, root, tmp_path, capsys):
    command = ["pictures", str(results / "first/seed-3"), "--audio", str(root), "--out", str(tmp_path / "drawn")]
    assert main(command) == 0
    assert "6 pictures" in capsys.readouterr().out
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in drawn[:2]] == ["one %3Cü%3E.wav#1.png", "one %3Cü%3E.wav#2.png"]
    with Image.open(drawn[0]) as picture:
        assert picture.width == 1200
    first = drawn[0].read_bytes()
    next(write_pictures(results / "first/seed-3", tmp_path / "again", root))
    assert (tmp_path / "again" / drawn[0].name).read_bytes() == first
    assert main([*command, "--phrases", "1"]) == 1
    assert "1 phrase" in capsys.readouterr().err


def test_pictures_say_what_is_missing(results, root, tmp_path, capsys):
    with pytest.raises(EarwitnessError, match=r"two\.wav(?s:.)*three\.wav(?s:.)*--audio"):
        next(write_pictures(results / "first/seed-3", tmp_path / "drawn"))
    (results / "first/seed-3/events.csv").unlink()
    with pytest.raises(EarwitnessError, match=r"events\.csv"):
        next(write_pictures(results / "first/seed-3", tmp_path / "drawn", root))
    assert main(["pictures", str(tmp_path), "--out", str(tmp_path / "drawn")]) == 1
    assert "clips.csv" in capsys.readouterr().err and not (tmp_path / "drawn").exists()


def test_names_of_files_are_different_and_short():
    names = ["a/b", "a_b", "a%2Fb", "ü" * 300, "ü" * 299, "../x", "a\nb"]
    made = [file_name(name) for name in names]
    assert len(set(made)) == len(names) and not any("/" in name for name in made)
    assert max(len(name.encode()) for name in made) <= 120


@pytest.mark.parametrize("phrases", [0, 4])
def test_a_picture_of_few_and_of_many_phrases(root, tmp_path, phrases):
    sound = pictures.spectrogram(root / "two.wav", 1.0)
    assert len(sound.levels) == pictures.MELS and 50 < sound.levels.shape[1] < 100 and 0 <= sound.levels.min() <= 1
    rows = [pictures.Row(f"$x_{n}", np.linspace(0, n / 9, 50), [(0.2, 0.4)]) for n in range(phrases)]
    path = tmp_path / "drawn.svg"
    pictures.draw(path, sound, rows, hop=HOP, threshold=0.5, title="The $price of <rain>")
    assert path.read_text().startswith("<?xml")
    with pytest.raises(EarwitnessError, match=r"\.bmp"):
        pictures.draw(tmp_path / "drawn.bmp", sound, rows, hop=HOP, threshold=0.5)


def test_the_spectrogram_of_a_long_recording_is_made_in_parts(tmp_path, monkeypatch):
    tone = np.sin(np.arange(8 * 16000) * 2000 * 2 * np.pi / 16000) * np.repeat([0, 0.5, 0, 0.5], 2 * 16000)
    soundfile.write(tmp_path / "long.wav", tone, 16000)
    whole = pictures.spectrogram(tmp_path / "long.wav", 8.0)
    monkeypatch.setattr(pictures, "PART", 20000)
    monkeypatch.setattr(pictures, "COLUMNS", 100)
    parts = pictures.spectrogram(tmp_path / "long.wav", 8.0)
    assert parts.levels.shape[1] <= 101 < whole.levels.shape[1]
    loud = parts.levels.max(axis=0) > 0.9
    assert np.flatnonzero(loud)[0] == pytest.approx(len(loud) / 4, abs=2)
    soundfile.write(tmp_path / "short.wav", np.zeros(1), 8000)
    assert pictures.spectrogram(tmp_path / "short.wav", 1 / 8000).levels.shape == (pictures.MELS, 1)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    with pytest.raises(AudioError, match=r"bad\.wav"):
        pictures.spectrogram(tmp_path / "bad.wav", 1.0)
