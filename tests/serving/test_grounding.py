"""When a phrase is found in recordings of any length, and what is said where something is wrong."""

import csv
import json
import os

import numpy as np
import pytest
import soundfile

from earwitness import serving
from earwitness.cli import ground
from earwitness.cli.main import main
from earwitness.errors import EarwitnessError
from earwitness.extractors.logmel import LogMelOptions
from earwitness.serving import grounding
from earwitness.serving.grounding import Locator
from earwitness.serving.models import seed_folder
from tests.serving import fake
from tests.serving.conftest import FRONT_END, RATE, frequency_of, write_model


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "results/tones/located/seed-0", "locator")


def write_tones(path, spans, seconds, rate=RATE):
    """Silence with tones: (band, onset, offset)."""
    times = np.arange(round(seconds * rate)) / rate
    wave = np.zeros(len(times))
    for band, onset, offset in spans:
        wave += 0.5 * np.sin(2 * np.pi * frequency_of(band) * times) * ((onset <= times) & (times < offset))
    soundfile.write(path, wave, rate)
    return path


@pytest.fixture
def yard(tmp_path):
    return write_tones(tmp_path / "yard.wav", [(4, 0.2, 0.5), (8, 1.2, 1.6)], 2.0)


def test_events_are_where_the_tones_are(model, yard):
    (found,) = serving.ground([str(yard)], ["band 4", "band 8", "band 12"], str(model))
    (event,) = found.events["band 4"]
    assert (event.onset, event.offset) == (pytest.approx(0.2, abs=0.03), pytest.approx(0.5, abs=0.03))
    assert 0.5 < event.activation <= 1 and not found.events["band 12"]
    assert found.seconds == 2 and len(found.activations["band 8"]) == 200
    (sure,) = Locator(model, threshold=1.0).locate([yard], ["band 4"])
    assert not sure.events["band 4"]


def test_an_event_in_a_piece_of_the_last_frame(model, tmp_path):
    locator = Locator(model)
    locator.median_filter = 1
    locator.model.activations = lambda clips, queries: [np.eye(51, dtype=np.float32)[50] * 0.75]
    (found,) = locator.locate([write_tones(tmp_path / "yard.wav", [], 0.5025)], ["band 4"])
    (event,) = found.events["band 4"]
    assert (event.onset, event.offset, event.activation) == (0.5, pytest.approx(0.5025, abs=1e-3), 0.75)


def test_a_long_recording_is_read_in_pieces(model, tmp_path, monkeypatch):
    spans = [(4, 1.0, 1.4), (4, 5.9, 6.3), (4, 9.0, 9.95)]
    path = write_tones(tmp_path / "long.flac", spans, 9.953)
    (whole,) = Locator(model).locate([path], ["band 4", "band 9"])
    monkeypatch.setattr(grounding, "PIECE", 2.0)
    monkeypatch.setattr(grounding, "CONTEXT", 0.4)
    fake.Locator.longest = 0
    (pieces,) = Locator(model).locate([path], ["band 4", "band 9"])
    assert fake.Locator.longest <= 201 and len(whole.activations["band 4"]) == 996
    assert [(e.onset, e.offset) for e in pieces.events["band 4"]] == [
        (e.onset, e.offset) for e in whole.events["band 4"]
    ]
    for phrase, values in whole.activations.items():
        np.testing.assert_allclose(pieces.activations[phrase], values, atol=1e-3)


def test_what_a_model_of_fixed_length_reads_says_how_long_pieces_are(tmp_path):
    options = LogMelOptions(
        extractor="logmel", sample_rate=RATE, n_fft=256, hop=80, mels=fake.BANDS, fmin=50, fmax=4000, seconds=1.0
    )
    features = {"mel": {**FRONT_END, "settings": options.settings("frames")}}
    model = write_model(tmp_path / "fixed", "locator", features=features)
    path = write_tones(tmp_path / "yard.wav", [(4, 0.2, 0.5), (4, 2.6, 3.1)], 3.3)
    (found,) = Locator(model).locate([path], ["band 4"])
    onsets = [event.onset for event in found.events["band 4"]]
    assert onsets == pytest.approx([0.2, 2.6], abs=0.03) and len(found.activations["band 4"]) == 330


@pytest.mark.parametrize("frames", [1, 99, 100, 101, 1000, 1001])
@pytest.mark.parametrize(("hop", "seconds"), [(0.01, None), (0.02, 1.0), (0.96, 10.0), (5.0, 3.0)])
def test_pieces_cover_all_frames_once(model, frames, hop, seconds):
    locator = Locator(model)
    locator.model.hop = hop
    locator.features.options["mel"] = locator.features.options["mel"].model_copy(update={"seconds": seconds})
    plan = locator._plan(frames)
    assert [first for _, _, first, _ in plan] == [0, *(last for *_, last in plan[:-1])] and plan[-1][3] == frames
    assert all(begin <= first < last <= end <= frames for begin, end, first, last in plan)
    total = np.zeros(frames)
    for (begin, end, *_), shares in zip(plan, grounding._shares(plan), strict=True):
        total[begin:end] += shares
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    assert max(end - begin for begin, end, *_ in plan) * hop <= max(hop, seconds or grounding.PIECE) + 1e-9


def test_all_that_cannot_be_used_is_named_at_once(model, yard, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    write_tones(tmp_path / "short.wav", [], 0.005)
    files = [yard, tmp_path / "gone.wav", tmp_path / "bad.wav", tmp_path / "short.wav"]
    with pytest.raises(EarwitnessError) as caught:
        Locator(model).locate(files, ["zebra crossing", " "])
    said = str(caught.value)
    assert all(word in said for word in ("gone.wav", "bad.wav", "short.wav", "0.005", "'zebra crossing'", "' '"))
    assert "yard.wav" not in said and "band 4" not in said
    with pytest.raises(EarwitnessError, match=r"yard\.wav(?s:.)*'gone 4'"):
        list(Locator(model).locate([yard], ["gone 4"]))
    for files, phrases in (([], ["band 4"]), ([yard], []), ([yard], "band 4")):
        with pytest.raises(EarwitnessError):
            Locator(model).locate(files, phrases)


def test_the_command_prints_a_table(model, yard, capsys):
    assert main(["ground", str(yard), "band 4", "--phrase", "loud band 12"]) == 0
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == f"{yard} (2.00 s)" and lines[1].split() == ["onset", "offset", "activation"]
    assert lines[2].startswith("band 4  ") and lines[3].startswith("loud band 12: nothing")
    assert "'loud'" in lines[3]


def test_a_phrase_without_a_known_word_is_left_out_and_said_to_be(model, yard, tmp_path, capsys):
    phrases, out = ["zebra crossing", "band 4", "loud band 12"], tmp_path / "out"
    (found,) = Locator(model).locate([yard], phrases)
    assert list(found.activations) == list(found.events) == ["band 4", "loud band 12"]
    assert found.unknown == {"zebra crossing": ["zebra", "crossing"], "band 4": [], "loud band 12": ["loud"]}
    assert main(["ground", str(yard), *phrases, "--out", str(out), "--format", "svg"]) == 0
    zebra, loud = capsys.readouterr().out.splitlines()[3:5]
    assert zebra.startswith("zebra crossing: ") and "none" in zebra and "threshold" not in zebra
    assert loud.startswith("loud band 12: nothing") and "'loud'" in loud
    assert [row["phrase"] for row in csv.DictReader((out / "events.csv").open())] == ["band 4"]
    drawn = (out / "yard.svg").read_text()
    assert all(text in drawn for text in ("zebra crossing (", "band 4 -->", "loud band 12 ("))
    assert main(["ground", str(yard), *phrases, "--json"]) == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert [(phrase["unknown"], phrase["highest"] is None) for phrase in content["phrases"]] == [
        (["zebra", "crossing"], True), ([], False), (["loud"], False),
    ]  # fmt: skip


def test_the_command_writes_events_labels_and_pictures(model, yard, tmp_path, capsys):
    other = write_tones(tmp_path / "yard.flac", [(4, 0, 0.3)], 1.0)
    out = tmp_path / "out"
    assert main(["ground", str(yard), str(other), "band 8", "band  4", "--out", str(out), "--format", "svg"]) == 0
    names = ["events.csv", "yard-2.svg", "yard-2.txt", "yard.svg", "yard.txt"]
    assert sorted(path.name for path in out.iterdir()) == names
    labels = [line.split("\t") for line in (out / "yard.txt").read_text().splitlines()]
    assert [label for *_, label in labels] == ["band 4", "band 8"] and float(labels[1][0]) == pytest.approx(
        1.2, abs=0.03
    )
    with (out / "events.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["phrase"]) for row in rows] == [
        (str(yard), "band 8"), (str(yard), "band  4"), (str(other), "band  4"),
    ]  # fmt: skip
    assert main(["ground", str(yard), "band 4", "--out", str(yard)]) == 1
    assert str(yard) in capsys.readouterr().err


def test_a_picture_shows_the_first_of_many_phrases_and_comes_last(model, yard, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ground, "DRAWN", 2)
    out, words = tmp_path / "out", ["band 8", "band 4", "band 12", "band 5"]
    assert main(["ground", str(yard), *words, "--out", str(out), "--format", "svg"]) == 0
    assert "2 of 4" in capsys.readouterr().err
    drawn = (out / "yard.svg").read_text()
    assert "band 4 -->" in drawn and "band 12 -->" not in drawn
    (out / "events.csv").unlink()

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("earwitness.report.pictures.draw", stopped)
    assert main(["ground", str(yard), *words, "--out", str(out)]) == 130
    assert len((out / "events.csv").read_text().splitlines()) == 3


def test_a_name_that_is_not_utf8_is_refused(model, yard):
    bad = yard.rename(os.fsdecode(bytes(yard.parent) + b"/bad\xff.wav"))
    with pytest.raises(EarwitnessError, match=r"bad\udcff\.wav.*UTF-8"):
        Locator(model).locate([bad], ["band 4"])


def test_json(model, yard, capsys):
    assert main(["ground", str(yard), "band 4", "--json", "--threshold", "0.4"]) == 0
    (content,) = json.loads(capsys.readouterr().out)
    assert content["file"] == str(yard) and content["threshold"] == 0.4 and content["hop"] == 0.01
    (phrase,) = content["phrases"]
    assert phrase["phrase"] == "band 4" and len(phrase["events"]) == 1 and phrase["highest"] > 0.8
    with pytest.raises(SystemExit):
        main(["ground", str(yard), "band 4", "--threshold", "nan"])
    assert "'nan'" in capsys.readouterr().err


def test_files_and_phrases_are_told_apart(tmp_path):
    (tmp_path / "rain").write_text("")
    (tmp_path / "sounds").mkdir()
    files, phrases = ground.told_apart(["gone.WAV", "a.wav", "./rain", "the .wav of rain"], ["x.wav"])
    assert [str(path) for path in files] == ["gone.WAV", "a.wav", "rain"] and phrases == ["the .wav of rain", "x.wav"]
    assert ground.told_apart(["a.wav", "cats and/or dogs"])[1] == ["cats and/or dogs"]
    with pytest.raises(EarwitnessError) as caught:
        ground.told_apart(["a.wav", "rain", "sounds/gone", "wind"])
    said = str(caught.value)
    assert "'rain'" in said and "./rain" in said and "sounds/gone" in said and "wind" not in said
    long = "a dog barking, " * 30
    assert ground.told_apart(["a.wav", long, f"/{long}"])[1] == [long, f"/{long}"]
    with pytest.raises(EarwitnessError, match=r"rain\\udcff"):
        ground.told_apart(["a.wav", "rain\udcff"])
    for words, missing in (([f"{'long' * 99}.wav"], "phrase"), (["a.wav"], "phrase"), (["a dog"], "file")):
        with pytest.raises(EarwitnessError, match=missing):
            ground.told_apart(words)


def test_models_are_found_by_their_kind(model, yard, tmp_path, capsys):
    results = tmp_path / "results"
    write_model(results / "tones/bands/seed-0")
    assert seed_folder(results, None, kind="grounding").samefile(model)
    with pytest.raises(EarwitnessError, match="located"):
        seed_folder(results, "bands", kind="grounding")
    write_model(results / "tones/other/seed-0", "locator")
    for words, wanted in (
        ([], ("located", "other", "--experiment")),
        (["--experiment", "other", "--model", "x"], ("--model",)),
        (["--experiment", "othr"], ("othr", "--experiment other")),
        (["--model", str(results / "tones/bands/seed-0")], ("seed-0", "bands")),
        (["--model", str(tmp_path / "none")], ("none",)),
        (["--model", str(yard)], ("yard.wav", "is a file")),
    ):
        assert main(["ground", str(yard), "band 4", *words]) == 1
        said = capsys.readouterr().err
        assert all(word in said for word in wanted), said
    assert main(["ground", str(yard), "band 4", "--experiment", "other"]) == 0
    (tmp_path / "empty").mkdir()
    assert main(["ground", str(yard), "band 4", "--results", str(tmp_path / "empty")]) == 1
    assert "none" in capsys.readouterr().err
