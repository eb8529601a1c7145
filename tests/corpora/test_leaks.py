"""The leak audit, on tables made by hand and on the real recordings, whose overlaps are known."""

import csv
import tracemalloc
from pathlib import Path

import pytest

from earwitness.corpora.leaks import audit, marks, summary, told
from earwitness.corpora.tables import CLIPS, SOURCES, write_rows
from earwitness.files import read_json
from earwitness.options import IdListOptions

DATA = Path(__file__).parents[3] / "shared" / "data"


def corpus(folder, clips, sources=()):
    """A corpus' tables: clip id -> digest; the split is that of the id unless the digest comes with another."""
    rows = []
    for clip_id, given in clips.items():
        split, digest = given if isinstance(given, tuple) else (clip_id.partition("/")[0], given)
        rows.append((clip_id, split, clip_id, "name", 1.0, 8000, 1, digest))
    write_rows(folder / "clips.csv", CLIPS, rows)
    write_rows(folder / "sources.csv", SOURCES, sources)
    return folder


def audited(folder, datasets=None, **lists):
    audit(folder, lists, datasets or {}, folder / "leaks.json")
    return read_json(folder / "leaks.json")


def lines(path, *values):
    path.write_text("\n".join(values) + "\n", encoding="utf-8")
    return IdListOptions(files=[str(path)])


@pytest.fixture
def small(tmp_path):
    clips = {
        "development/a.wav": "1" * 64,
        "development/b.wav": "2" * 64,
        "validation/a.wav": "3" * 64,
        "evaluation/c.wav": "2" * 64,
        "evaluation/d.wav": "4" * 64,
    }
    sources = [
        ("development/a.wav", "freesound", "7"),
        ("validation/a.wav", "freesound", "8"),
        ("evaluation/d.wav", "freesound", "007"),
    ]
    return corpus(tmp_path / "small" / "corpus", clips, sources)


def test_what_splits_share_is_told_by_what_they_share(small):
    report = audited(small)
    assert report["clips"] == {"development": 2, "validation": 1, "evaluation": 2}
    pairs = {tuple(pair["splits"]): pair for pair in report["within"]}
    assert pairs["development", "validation"]["by"] == {"name": {"development": 1, "validation": 1}}
    assert pairs["validation", "evaluation"] == {"splits": ["validation", "evaluation"], "by": {}, "found": []}
    found = pairs["development", "evaluation"]["found"]
    assert {"by": "freesound", "id": "7", "clips": {
        "development": ["development/a.wav"], "evaluation": ["evaluation/d.wav"]}} in found  # fmt: skip
    assert {row["by"] for row in found} == {"freesound", "sha256"}
    assert "1 development and 1 evaluation clips share the same audio" in summary(report)


def test_marks_count_clips_once_and_a_shared_name_is_no_evidence(small):
    development, validation = marks(audited(small), [], "evaluation")
    expected = {"list": "development", "kind": "split", "by": ["freesound", "sha256"], "clips": 2, "of": 2}
    assert development == expected
    assert (validation["clips"], validation["by"]) == (0, [])
    assert marks(audited(small), [], "validation")[0]["clips"] == 0
    leaked, unchecked = told([development, validation], "evaluation")
    assert leaked == [
        "2 of 2 evaluation clips are in development, which it was trained on (Freesound id, the same audio)"
    ]
    assert unchecked == []


def test_clips_without_an_id_of_the_lists_kind_are_counted(small, tmp_path):
    freesound = lines(tmp_path / "ids.txt", "# a comment", "7", "Not found").model_copy(update={"kind": "freesound"})
    youtube = lines(tmp_path / "videos.txt", "Yr1nicOVtvkQ.wav").model_copy(update={"kind": "youtube"})
    report = audited(small, freesound=freesound, youtube=youtube)
    found = report["lists"]["freesound"]
    assert (found["entries"], found["entries_without_id"], found["clips"]) == (2, 1, 2)
    evaluation = found["splits"]["evaluation"]
    assert (evaluation["clips"], evaluation["of"], evaluation["clips_without_id"]) == (1, 2, 1)
    assert evaluation["found"] == [{"clip_id": "evaluation/d.wav", "by": ["freesound"], "sides": []}]
    some, none = marks(report, ["freesound", "youtube"], "evaluation")[2:]
    assert (some["clips"], some["by"], some["clips_without_id"]) == (1, ["freesound"], 1)
    assert none["clips"] is None and none["reason"] == "no YouTube id of any of the 2 evaluation clips is known"
    leaked, unchecked = told([some, none], "evaluation")
    assert leaked == ["1 of 2 evaluation clips is in freesound, which it was trained on (Freesound id)"]
    assert len(unchecked) == 2 and "could not be looked up in freesound" in unchecked[0]


@pytest.mark.parametrize(
    ("name", "listed", "hit"),
    [
        ("Rain &#39;n wind.wav", "Rain 'n wind.wav", True),
        ("Rain &#39;n wind.wav", "Rain _n wind.wav", True),
        ("Rain.wav", "rain.flac", True),
        (" Rain.wav", "evaluation/Rain", True),
        ("Rain.wav", "Rain 2.wav", False),
        ("雨.wav", "風.wav", False),  # both would be _.wav
        ("雨.wav", "_.wav", True),
    ],
)
def test_names_are_compared_under_the_known_renamings(tmp_path, name, listed, hit):
    folder = corpus(tmp_path / "corpus", {f"evaluation/{name}": "1" * 64})
    counts = audited(folder, names=lines(tmp_path / "names.txt", listed))["lists"]["names"]["splits"]["evaluation"]
    expected = [{"clip_id": f"evaluation/{name}", "as": [listed], "by": ["name"], "sides": []}]
    assert counts["found"] == (expected if hit else [])


def test_a_clip_that_is_listed_itself_is_not_taken_for_its_namesakes(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text("name,side\na b.wav,train\na_b.wav,test\na_b.wav,other\n", encoding="utf-8")
    folder = corpus(tmp_path / "corpus", {"evaluation/a b.wav": "1" * 64})
    names = IdListOptions(files=[str(path)], column="name", side="side")
    found = audited(folder, names=names)["lists"]["names"]["splits"]["evaluation"]["found"]
    assert found == [{"clip_id": "evaluation/a b.wav", "by": ["name"], "sides": ["train"]}]
    renamed = corpus(tmp_path / "renamed", {"evaluation/a-b.wav": "1" * 64, "evaluation/a.wav": "2" * 64})
    (row,) = audited(renamed, names=names)["lists"]["names"]["splits"]["evaluation"]["found"]
    assert (row["as"], row["sides"]) == (["a_b.wav"], ["other", "test"])


def test_another_data_set_is_compared_by_name_by_source_and_by_audio(small, tmp_path):
    clips = {"development/d.wav": "5" * 64, "validation/x.wav": "4" * 64, "evaluation/c.wav": "6" * 64}
    sources = [("validation/x.wav", "freesound", "7")]
    other = corpus(tmp_path / "other" / "corpus", clips, sources)
    lists = {
        "all": IdListOptions(dataset="other"),
        "some": IdListOptions(dataset="other", splits=["development", "validation"]),
    }
    report = audited(small, {"other": other}, **lists)
    counts = report["lists"]["all"]["splits"]["evaluation"]
    assert (counts["clips"], counts["by"]) == (2, {"name": 2, "freesound": 1, "sha256": 1})
    assert counts["sides"] == {"development": 1, "evaluation": 1, "validation": 1}
    assert counts["clips_without_source"] == 1
    some = report["lists"]["some"]["splits"]["evaluation"]
    by_all = ["name", "freesound", "sha256"]
    assert some["found"] == [{"clip_id": "evaluation/d.wav", "by": by_all, "sides": ["development", "validation"]}]
    assert report["lists"]["some"]["entries"] == 2


def test_lists_that_are_not_there_are_no_error(small, tmp_path):
    lists = {
        "absent": IdListOptions(files=[str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]),
        "unmade": IdListOptions(dataset="other"),
        "no_split": IdListOptions(dataset="thin", splits=["validation"]),
    }
    thin = corpus(tmp_path / "thin" / "corpus", {"evaluation/a.wav": "9" * 64})
    report = audited(small, {"thin": thin}, **lists)
    assert all(entry["clips"] is None for entry in report["lists"].values())
    reason = report["lists"]["absent"]["reason"]
    assert f"put it at {tmp_path / 'a.csv'}" in reason and f"put it at {tmp_path / 'b.csv'}" in reason
    assert "'other' is not there" in report["lists"]["unmade"]["reason"]
    assert "it has evaluation" in report["lists"]["no_split"]["reason"]
    found = marks(report, ["absent", "never_audited"], "evaluation")[2:]
    assert [mark["clips"] for mark in found] == [None, None] and "`audit`" in found[1]["reason"]
    leaked, unchecked = told(found, "evaluation")
    assert leaked == [] and "in absent, which it was trained on, could not be checked: the list is not" in unchecked[0]


def test_long_lists_are_not_held(small, tmp_path):
    path = tmp_path / "long.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text\n")
        file.writelines(f"{number},{'words ' * 10}\n" for number in range(30_000, 0, -1))
    held = IdListOptions(files=[str(path)], column="id", kind="freesound")
    audited(small, held=held)
    tracemalloc.start()
    report = audited(small, held=held)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report["lists"]["held"]["entries"] == 30_000 and report["lists"]["held"]["clips"] == 3
    assert peak < path.stat().st_size / 2


@pytest.fixture
def real(tmp_path):
    """The 25 real recordings as a corpus."""
    recordings = DATA / "clotho_real" / "recordings.csv"
    if not recordings.exists():
        pytest.skip("the real recordings of ../shared/data are not here")
    with recordings.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ids = {f"evaluation/{row['file_name']}": row["freesound_id"] for row in rows}
    digests = {clip_id: f"{number:064x}" for number, clip_id in enumerate(ids)}
    return corpus(tmp_path / "real", digests, [(clip_id, "freesound", id_) for clip_id, id_ in ids.items()])


def test_the_real_recordings_are_found_in_clothos_own_tables(real):
    tables = [DATA / "captions" / "clotho_v2" / f"clotho_captions_{s}.csv" for s in ("development", "validation")]
    if not all(table.exists() for table in tables):
        pytest.skip("Clotho's tables of ../shared/data are not here")
    names = IdListOptions(files=[str(table) for table in tables], column="file_name")
    entry = audited(real, clotho=names)["lists"]["clotho"]
    assert entry["entries"] == 3839 + 1045
    assert (entry["splits"]["evaluation"]["clips"], entry["splits"]["evaluation"]["of"]) == (21, 25)


def test_the_real_recordings_are_found_in_what_the_soundscapes_are_made_of(real):
    attribution = DATA / "ATTRIBUTION.csv"
    options = IdListOptions(files=[str(attribution)], kind="freesound", column="freesound_id", side="split")
    counts = audited(real, soundscapes=options)["lists"]["soundscapes"]["splits"]["evaluation"]
    assert (counts["clips"], counts["of"], counts["clips_without_id"]) == (15, 25, 0)
    assert counts["sides"] == {"development": 7, "evaluation": 4, "validation": 4}
