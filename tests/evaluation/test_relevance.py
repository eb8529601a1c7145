"""A data set's table of relevant clips, as DCASE 2025 and others have it."""

import csv
import io
import json

import numpy as np
import pytest

from earwitness.config import validated
from earwitness.corpora.report import REPORT_SCHEMA
from earwitness.corpora.tables import CAPTIONS, CLIPS, write_rows
from earwitness.errors import EarwitnessError
from earwitness.evaluation.relevance import TABLE, evaluate, read_relevant, write_relevant
from earwitness.evaluation.retrieval import Retrieval
from tests.places import shared

NAMES = ["dog.wav", "it's raining.wav", "a&amp;b.wav", 'odd "name", [1].wav']


@pytest.fixture
def corpus(tmp_path):
    """Four clips of evaluation and one of development, with two captions each; two captions are the same."""
    folder = tmp_path / "corpus"
    splits = {**dict.fromkeys(NAMES, "evaluation"), "x.wav": "development"}
    write_rows(folder / "clips.csv", CLIPS, [(n, s, n, "name", 2.0, 8000, 1, n) for n, s in splits.items()])
    captions = [(f"{name}#{n}", name, f"Caption {n}, of {name}") for name in splits for n in (1, 2)]
    captions[3] = (captions[3][0], captions[3][1], captions[0][2])
    write_rows(folder / "captions.csv", CAPTIONS, captions)
    report(folder)
    return folder


def report(folder, listed=4):
    counts = {"listed": listed, "found": 4, "missing": listed - 4, "refused": 0}
    content = {"schema": REPORT_SCHEMA, "clips": {"evaluation": counts}}
    (folder / "report.json").write_text(json.dumps(content), encoding="utf-8")


def dcase(path, rows):
    """A table with lists that Python printed."""
    text = io.StringIO()
    csv.writer(text).writerows([["query", "audio_filenames"], *((query, repr(clips)) for query, clips in rows)])
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def read(corpus, table):
    write_relevant(corpus, table, corpus / "relevant.csv")
    return read_relevant(corpus)


def test_without_a_table_there_are_no_rows(corpus):
    assert read(corpus, None) is None
    assert (corpus / "relevant.csv").read_text() == "caption_id,clip_id\n"


def test_a_table_changes_scores_and_nothing_before_them():
    dataset = validated("datasets", {"layout": "folder", "audio": "a", "relevant": "r.csv"})
    assert dataset.relevant == "r.csv" and "relevant" not in dataset.settings("corpus")
    assert TABLE in Retrieval.scored_with and TABLE not in Retrieval.tables


def test_lists_of_names_with_html_entities(corpus, tmp_path):
    rows = [
        ("Caption 1, of dog.wav", ["it&#39;s raining.wav", "dog.wav"]),  # the text of two clips
        ("Caption  2, of dog.wav", ["a&amp;b.wav"]),  # a clip that is called so
        (f"{NAMES[3]}#1", ["odd &quot;name&quot;, [1].wav", "it's raining.wav"]),  # a query by its id
        ("Caption 2, of a&amp;b.wav", []),
    ]
    found = read(corpus, dcase(tmp_path / "r.csv", rows))
    assert found == {
        "dog.wav#1": ["it's raining.wav", "dog.wav"],
        "dog.wav#2": ["a&amp;b.wav"],
        "it's raining.wav#2": ["it's raining.wav", "dog.wav"],
        "a&amp;b.wav#2": [],
        f"{NAMES[3]}#1": [NAMES[3], "it's raining.wav"],
    }


def test_a_row_for_each_clip_says_the_same(corpus, tmp_path):
    lists = read(corpus, dcase(tmp_path / "r.csv", [("dog.wav#2", ["a&amp;b.wav", "dog.wav"]), ("dog.wav#1", [])]))
    long = tmp_path / "long.csv"
    long.write_text("query,file_name,relevant\ndog.wav#2,a&amp;b.wav,1\ndog.wav#2,dog.wav,1\ndog.wav#1,,0\n")
    assert read(corpus, long) == lists


def test_no_more_rows_are_read_than_are_scored(monkeypatch):
    class Scores:
        shape, reads = (10_000, 4), []

        def __getitem__(self, rows):
            self.reads.append(rows.stop - rows.start)
            return np.random.default_rng(0).random(self.shape)[rows]

    monkeypatch.setattr("earwitness.metrics.retrieval.BLOCK", 4 * 5)
    names = [str(number) for number in range(10_000)]
    relevant = {names[row]: ["a"] for row in (0, 1, 4, 5, 5000, 5001, 9999)}
    found = evaluate(Scores(), names, ["a"] * 10_000, list("abcd"), relevant, "expected", ["t2a_r1", "a2t_medr"])
    whole = np.random.default_rng(0).random((10_000, 4))[[int(name) for name in relevant]]
    assert found.metrics["t2a_r1"]["value"] == (whole.argmax(axis=1) == 0).mean()
    assert found.pool["a2t"] == 7 and max(Scores.reads) <= 5


def test_all_that_is_not_known_is_listed(corpus, tmp_path):
    rows = [
        ("caption 1 of dog.wav", ["dog.wav"]),
        ("Caption 2, of dog.wav", ["dog.wave", "x.wav", "dog.wav", "dog.wav"]),
        ("Caption 1, of x.wav", ["dog.wav"]),  # of another split
    ]
    with pytest.raises(EarwitnessError) as caught:
        read(corpus, dcase(tmp_path / "r.csv", rows))
    offenders = [line for line in str(caught.value).splitlines() if line.startswith("  - r.csv, row ")]
    assert [line[len("  - r.csv, row ")] for line in offenders] == list("23334")
    assert "captions.csv" not in offenders[0] and "row 2 differs" in offenders[0]
    assert "'dog.wave'" in offenders[1] and "did you mean 'dog.wav'?" in offenders[1]
    assert "'x.wav'" in offenders[2] and "more than once" in offenders[3] and "of x.wav'" in offenders[4]
    assert not (corpus / "relevant.csv").exists()


def test_names_of_clips_that_the_corpus_lacks_are_ignored_where_it_lacks_some(corpus, tmp_path):
    table = dcase(
        tmp_path / "r.csv", [("a caption of a lost clip", ["lost.wav"]), ("dog.wav#1", ["lost.wav", "dog.wav"])]
    )
    report(corpus, listed=5)
    assert read(corpus, table) == {"dog.wav#1": ["dog.wav"]}


@pytest.mark.parametrize(
    ("cell", "fact"),
    [
        ("['dog.wav', 'a", "no list"),
        ("['dog.wav' 'rain.wav']", "no list"),
        ("[['dog.wav']]", "no list"),
        ("[dog.wav]", "no list"),
        ("[1, 2]", "no list"),
        ("[__import__('os').getcwd()]", "no list"),
        ("[" * 5000, "no list"),
        (r"['\N{no such name}']", "cannot be read"),
        ("['']", "missing"),
        (r"['\ud800.wav']", "is no id"),
        ("[" + "'a'," * 300_000 + "]", "row 3"),
    ],
)
def test_what_is_no_list_is_refused_with_its_row(corpus, tmp_path, cell, fact):
    table = tmp_path / "r.csv"
    table.write_text("query,audio_filenames\ndog.wav#1,['dog.wav']\ndog.wav#2,\"" + cell.replace('"', '""') + '"\n')
    with pytest.raises(EarwitnessError, match=r"r\.csv, row 3") as caught:
        read(corpus, table)
    assert fact in str(caught.value)


def test_tables_that_leave_nothing_to_score_are_refused(corpus, tmp_path):
    report(corpus, listed=5)
    with pytest.raises(EarwitnessError, match=r"r\.csv"):
        read(corpus, dcase(tmp_path / "r.csv", [("a caption of a lost clip", ["lost.wav"])]))
    with pytest.raises(EarwitnessError, match=r"r\.csv.*no clip"):
        read(corpus, dcase(tmp_path / "r.csv", [("dog.wav#1", [])]))


def test_real_captions_with_a_table_of_the_form_of_dcase(tmp_path):
    with shared("clotho_real", "clotho_captions_evaluation.csv").open(encoding="utf-8", newline="") as file:
        clips = {row.pop("file_name"): list(row.values()) for row in csv.DictReader(file)}
    folder = tmp_path / "corpus"
    write_rows(folder / "clips.csv", CLIPS, [(n, "evaluation", n, "name", 2.0, 8000, 1, n) for n in clips])
    rows = [(f"{name}#{n}", name, text) for name, texts in clips.items() for n, text in enumerate(texts, 1)]
    write_rows(folder / "captions.csv", CAPTIONS, rows)
    report(folder)
    names = list(clips)
    table = [(texts[0], [names[place - 1], name]) for place, (name, texts) in enumerate(clips.items())]
    found = read(folder, dcase(tmp_path / "r.csv", table))
    assert found == {f"{name}#1": [names[place - 1], name] for place, name in enumerate(names)}
