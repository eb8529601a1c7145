"""What to cite: the registry, the page in docs and the BibTeX of a result agree."""

import json
import re
from pathlib import Path

import h5py
import pytest
import yaml

from earwitness import __version__, registry
from earwitness.cli.main import main
from earwitness.errors import EarwitnessError
from earwitness.metrics import catalogue
from earwitness.report import citations
from earwitness.report.citations import UNKNOWN, bibliography, bibtex, parts_of
from tests.places import ROOT

REGISTRIES = {
    "SYSTEMS": registry.SYSTEMS,
    "LAYOUTS": registry.LAYOUTS,
    "EXTRACTORS": registry.EXTRACTORS,
    "TEXTS": registry.TEXTS,
}
VALUES = {"value": 0.5, "ci95": None, "per_seed": [0.5]}
METRICS = {"bleu_1": VALUES, "cider_d": VALUES, "spice": {"value": None, "reason": "no jars"}}
METRICS |= {"sbert_sim.all-MiniLM-L6-v2": VALUES, "vocab_f1": VALUES}


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def result(tmp_path):
    """A result of CL4AC on Clotho with VGGish features, in place of its log-mel: only names and provenance are read."""
    folder = tmp_path / "results" / "mine"
    options = {"system": "cl4ac", "feature": "frames", "text": "words"}
    content = {"schema": 2, "dataset": "mine", "experiment": "e", "system": "cl4ac", "seeds": [0], "metrics": METRICS}
    content |= {"counts": {}, "kinds": {"captioning": {"metrics": list(METRICS), "counts": {}}}}
    content["provenance"] = {"options": options, "code": "0.1.9+abcdef"}
    write_json(folder / "e" / "metrics.json", content)
    write_json(folder / "corpus" / "report.json", {"provenance": {"settings": {"layout": "clotho"}}})
    write_json(folder / "text" / "words" / "vocabulary.json", {"provenance": {"settings": {"kind": "vocabulary"}}})
    (folder / "features" / "frames").mkdir(parents=True)
    with h5py.File(folder / "features" / "frames" / "evaluation.h5", "w") as file:
        file.attrs["provenance"] = json.dumps({"settings": {"extractor": "vggish"}})
    return folder / "e" / "metrics.json"


def entries_in(text):
    return re.findall(r"^@\w+{(\w+),", text, re.MULTILINE)


def test_a_result_cites_its_parts_and_metrics_with_a_value(result, capsys):
    assert main(["cite", str(result.parent)]) == 0
    printed = capsys.readouterr().out
    assert entries_in(printed) == [
        "earwitness", "liu2021cl4ac", "kong2020panns", "drossos2020clotho", "hershey2017cnn", "mikolov2013word2vec",
        "papineni2002bleu", "vedantam2015cider", "zhou2022fense", "reimers2019sbert",
    ]  # fmt: skip
    assert "version = {0.1.9}" in printed  # the result's
    outside = [line for line in printed.splitlines() if line.startswith("%")]
    assert not any("@" in line for line in outside)  # BibTeX takes it for an entry
    assert any("data set mine (layout clotho)" in line for line in outside)


def test_an_entry_is_given_once():
    parts = [citations.Part("a", ("kong2020panns",)), citations.Part("b", ("kong2020panns", "lin2004rouge"))]
    assert entries_in(bibtex(parts)) == ["earwitness", "kong2020panns", "lin2004rouge"]


@pytest.mark.parametrize(
    ("path", "content", "part"),
    [
        ("corpus/report.json", {"provenance": {"settings": {"layout": "folder"}}}, "data set mine (layout folder)"),
        ("corpus/report.json", {}, "data set mine"),
        ("text/words/vocabulary.json", {}, "text words"),
    ],
)
def test_what_is_not_known_is_said(result, path, content, part):
    write_json(result.parents[1] / path, content)
    assert citations.Part(part, None) in parts_of(result)
    assert f"% {part}: {UNKNOWN}" in bibtex(parts_of(result))


def test_features_that_were_removed_are_not_known(result):
    (result.parents[1] / "features" / "frames" / "evaluation.h5").unlink()
    assert citations.Part("features frames", None) in parts_of(result)


def test_a_system_that_is_not_registered_is_named(result):
    content = json.loads(result.read_text(encoding="utf-8"))
    write_json(result, content | {"system": "theirs"})
    with pytest.raises(EarwitnessError, match=r"metrics\.json.*'theirs'"):
        parts_of(result)


def test_a_result_that_does_not_exist_has_a_near_one(result, capsys, monkeypatch):
    monkeypatch.chdir(result.parents[3])
    assert main(["cite", "results/mine/f/metrics.json"]) == 1
    assert "results/mine/e/metrics.json" in capsys.readouterr().err


def test_every_reference_is_in_the_bibliography_and_used():
    named = [entry.references or () for entries in REGISTRIES.values() for entry in entries.values()]
    named += [metric.references for metric in catalogue.METRICS.values()]
    used = {key for keys in named for key in keys}
    assert used == bibliography().keys()
    assert list(bibliography()) == sorted(bibliography())


def test_every_entry_names_authors_title_year_and_where():
    for key, entry in bibliography().items():
        fields = dict(re.findall(r"^  (\w+) = {(.*)},$", entry, re.MULTILINE))
        assert fields.keys() >= {"author", "title", "year"} and str(fields["year"]) in key, key
        assert fields.keys() & {"booktitle", "journal", "eprint", "howpublished"}, key
        assert entry.isascii() and entry.count("{") == entry.count("}"), key


def test_all_but_own_and_foreign_data_has_a_reference():
    without = {name for entries in REGISTRIES.values() for name, entry in entries.items() if not entry.references}
    parts = {"retriever", "zeroshot"}  # made of other experiments and of a CLAP, which are cited
    assert without == {"mini", "folder", "logmel", "external", "words"} | parts
    names = {metric.name for metric in catalogue.METRICS.values() if not metric.references}
    assert {name for name in names if not name.startswith("vocab_")} == {"miou"}


def test_the_page_in_docs_is_the_registry_s():
    page = (ROOT / "docs/citing.md").read_text(encoding="utf-8")
    assert page == citations.page(), "python -m earwitness.report.citations > docs/citing.md"


def test_citation_file_states_this_version():
    content = yaml.safe_load(Path(ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert content["version"] == __version__ and content["title"] == "Earwitness" and content["license"] == "MIT"
    assert {"cff-version", "message", "authors"} <= content.keys()
