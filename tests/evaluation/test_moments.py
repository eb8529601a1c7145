"""Moments as a kind of prediction: its file, what is scored, baselines, and what is refused."""

import json

import pytest

from earwitness.corpora.tables import CAPTIONS, CLIPS, EVENTS, PHRASES, clips_of, write_rows
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.compare import compare
from earwitness.evaluation.moments import Moments
from earwitness.evaluation.others import read_other
from earwitness.evaluation.readers.moments import MomentFiles
from earwitness.evaluation.readers.moments import score as score_files
from earwitness.evaluation.result import read_baselines, write_baselines
from earwitness.evaluation.scores import write_scores
from earwitness.prediction.clips import Clips


@pytest.fixture
def corpus(tmp_path):
    """Two evaluation clips of 60 s and one of development, two phrases each; the last phrase of each holds nowhere."""
    folder = tmp_path / "corpus"
    names = ["development/x", "evaluation/0", "evaluation/1"]
    rows = [(name, name.split("/")[0], f"{name}.wav", "name", 60.0, 8000, 1, name) for name in names]
    write_rows(folder / "clips.csv", CLIPS, rows)
    captions = [(f"{name}#{n}", name, f"text {n} of {name}") for name in names for n in (1, 2)]
    write_rows(folder / "captions.csv", CAPTIONS, captions)
    phrases = [(f"{caption}.1", caption, text, 0, 2) for caption, _, text in captions]
    write_rows(folder / "phrases.csv", PHRASES, phrases)
    events = [(f"{name}#1.1", *times) for name in names for times in ((10.0, 20.0), (30.0, 40.0))]
    write_rows(folder / "events.csv", EVENTS, events)
    return folder


class Finder:
    def moments(self, clips, queries):
        for _, text in queries:
            yield [(10.0, 20.0, 0.9), (50.0, 55.0, 0.2)] if "text 1" in text else []


@pytest.fixture
def seed(corpus, tmp_path):
    clips = Clips(list(clips_of(corpus / "clips.csv", "evaluation", "the test")["clip_id"]))
    Moments().predict(Finder(), clips, corpus, tmp_path / "seed-0")
    return tmp_path / "seed-0"


def test_the_prediction_is_lighthouses_form_and_is_scored_as_the_command_does(corpus, seed):
    records = [json.loads(line) for line in (seed / "moments.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["qid"] for record in records[:2]] == ["evaluation/0#1.1", "evaluation/0#2.1"]
    assert records[0]["pred_relevant_windows"] == [[10, 20, 0.9], [50, 55, 0.2]] and records[0]["vid"] == "evaluation/0"
    scored = Moments().score(seed, corpus, None, {})
    assert scored.evaluation.metrics["r1_70"]["value"] == 1 and scored.evaluation.metrics["map_avg"]["value"] == 0.5
    assert scored.counts["queries_without_moments"] == 2 and scored.counts["phrases_scored"] == 4
    assert scored.evaluation.ids == Moments().clip_ids(corpus)


def test_other_phrases_and_windows_without_length_are_refused(corpus, seed):
    path = seed / "moments.jsonl"
    content = path.read_text(encoding="utf-8")
    path.write_text("\n".join(content.splitlines()[1:]) + "\n", encoding="utf-8")
    with pytest.raises(MismatchError, match=r"moments\.jsonl"):
        Moments().score(seed, corpus, None, {})
    path.write_text(content.replace("10.0, 20.0", "20.0, 10.0"), encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"moments\.jsonl, row 1, window 1"):
        Moments().score(seed, corpus, None, {})


def test_baselines_stand_beside_the_scores(corpus, tmp_path):
    (corpus / "report.json").write_text("{}", encoding="utf-8")
    write_baselines("moments", corpus, tmp_path / "moments.json")
    found = {baseline.name: baseline.metrics for baseline in read_baselines(tmp_path / "moments.json")}
    assert list(found) == ["whole recording", "constant window", "random windows", "true windows"]
    assert set(Moments.floors) < set(found)
    assert found["constant window"]["r1_70"]["value"] == found["true windows"]["map_avg"]["value"] == 1


def test_a_data_set_without_phrases_has_no_value(corpus, tmp_path):
    write_rows(corpus / "phrases.csv", PHRASES, [])
    write_rows(corpus / "events.csv", EVENTS, [])
    Moments().predict(Finder(), Clips([]), corpus, tmp_path / "seed-1")
    scored = Moments().score(tmp_path / "seed-1", corpus, None, {})
    assert all(entry["value"] is None for entry in scored.evaluation.metrics.values())
    assert Moments().baselines(corpus) == []


def test_scores_of_other_systems_stand_beside_and_are_compared(corpus, seed, tmp_path):
    windows = [[10, 20], [30, 40]]
    names = ("evaluation/0", "evaluation/1")
    references = [{"qid": f"{name}#1.1", "vid": name, "duration": 60, "relevant_windows": windows} for name in names]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in references), encoding="utf-8")
    predictions = tmp_path / "p.json"
    for number, windows in enumerate(([[10, 20]], [[50, 60]])):
        predictions.write_text(json.dumps({record["qid"]: windows for record in references}), encoding="utf-8")
        scored = score_files(MomentFiles(predictions, path))
        made = {"provenance": {"made_by": scored.made_by, "settings": scored.settings}}
        write_scores(tmp_path / f"out-{number}", scored.evaluation, scored.columns, made)
    assert read_other("Other", tmp_path / "out-0", corpus).kind == "moments"
    found = compare(tmp_path / "out-0", tmp_path / "out-1")
    assert found["kinds"] == ["moments"] and found["metrics"]["r1_50"]["difference"] == -1
