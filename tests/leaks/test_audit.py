"""The leak audit, on tables made by hand and on the real recordings, whose overlaps are known."""

import csv
import time
import tracemalloc

import pytest

from earwitness.corpora.tables import CLIPS, SOURCES, write_rows
from earwitness.errors import MismatchError
from earwitness.leaks.audit import audit, describe, marks, read_audit, summary
from earwitness.options import IdListOptions
from tests.places import SHARED_DATA as DATA


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
    return read_audit(folder / "leaks.json")


def found(folder, name, split="evaluation"):
    """The rows of ``leaks.csv`` about clips of a split in one list: clip id, by, side, as."""
    with (folder / "leaks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if (row["list"], row["split"]) == (name, split)]
    return [(row["clip_id"], row["by"], row["side"], row["as"]) for row in kept]


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
    assert pairs["development", "validation"]["clips"] == {"development": 0, "validation": 0}
    nothing = {"splits": ["validation", "evaluation"], "by": {}, "clips": {"validation": 0, "evaluation": 0}}
    assert pairs["validation", "evaluation"] == nothing
    both = pairs["development", "evaluation"]
    assert set(both["by"]) == {"freesound", "sha256"} and both["clips"] == {"development": 2, "evaluation": 2}
    rows = [("d.wav", "freesound", "development", "7"), ("c.wav", "sha256", "development", "2" * 64)]
    assert found(small, "") == [(f"evaluation/{row[0]}", *row[1:]) for row in rows]
    assert ("development/a.wav", "name", "validation", "a.wav") in found(small, "", "development")
    assert "1 development and 1 evaluation clips" in summary(report) and "same audio" in summary(report)


def test_marks_count_clips_once_and_a_shared_name_is_no_evidence(small):
    development, validation = marks(audited(small), [], "evaluation")
    expected = {"list": "development", "kind": "split", "by": ["freesound", "sha256"], "clips": 2, "of": 2}
    assert development == expected
    assert (validation["clips"], validation["by"]) == (0, [])
    assert marks(audited(small), [], "validation")[0]["clips"] == 0
    leaked, unchecked = describe([development, validation], "evaluation")
    (line,) = leaked
    assert line.startswith("2 of 2 evaluation clips are in development, ")
    assert "(Freesound id, the same audio)" in line
    assert unchecked == []


def test_clips_without_an_id_of_the_lists_kind_are_counted(small, tmp_path):
    freesound = lines(tmp_path / "ids.txt", "# a comment", "7", "Not found").model_copy(update={"kind": "freesound"})
    youtube = lines(tmp_path / "videos.txt", "Yr1nicOVtvkQ.wav").model_copy(update={"kind": "youtube"})
    report = audited(small, freesound=freesound, youtube=youtube)
    entry = report["lists"]["freesound"]
    assert (entry["entries"], entry["entries_without_id"], entry["clips"]) == (2, 1, 2)
    assert "freesound: 1 of its 2 entries " in summary(report)
    evaluation = entry["splits"]["evaluation"]
    assert (evaluation["clips"], evaluation["of"], evaluation["clips_without_id"]) == (1, 2, 1)
    assert found(small, "freesound") == [("evaluation/d.wav", "freesound", "", "")]
    some, none = marks(report, ["freesound", "youtube"], "evaluation")[2:]
    assert (some["clips"], some["by"], some["clips_without_id"]) == (1, ["freesound"], 1)
    assert none["clips"] is None and "YouTube id of any of the 2 evaluation clips" in none["reason"]
    leaked, unchecked = describe([some, none], "evaluation")
    (line,) = leaked
    assert line.startswith("1 of 2 evaluation clips is in freesound, ") and "(Freesound id)" in line
    assert len(unchecked) == 2 and "freesound" in unchecked[0]


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
    assert found(folder, "names") == ([(f"evaluation/{name}", "name", "", listed)] if hit else [])
    assert (counts["clips"], counts["by"]) == ((1, {"name": 1}) if hit else (0, {}))


def test_a_clip_that_is_listed_itself_is_not_taken_for_its_namesakes(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text("name,side\na b.wav,train\na_b.wav,test\na_b.wav,other\n", encoding="utf-8")
    folder = corpus(tmp_path / "corpus", {"evaluation/a b.wav": "1" * 64})
    names = IdListOptions(files=[str(path)], column="name", side="side")
    assert audited(folder, names=names)["lists"]["names"]["splits"]["evaluation"]["sides"] == {"train": 1}
    assert found(folder, "names") == [("evaluation/a b.wav", "name", "train", "")]
    renamed = corpus(tmp_path / "renamed", {"evaluation/a-b.wav": "1" * 64, "evaluation/a.wav": "2" * 64})
    counts = audited(renamed, names=names)["lists"]["names"]["splits"]["evaluation"]
    assert (counts["clips"], counts["sides"]) == (1, {"other": 1, "test": 1})
    assert found(renamed, "names") == [("evaluation/a-b.wav", "name", side, "a_b.wav") for side in ("other", "test")]


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
    rows = [("name", "development"), ("freesound", "validation"), ("sha256", "validation")]
    assert found(small, "some") == [("evaluation/d.wav", *row, "") for row in rows]
    assert report["lists"]["some"]["entries"] == 2


def test_names_that_another_data_set_has_too_are_told_and_are_no_leak(tmp_path):
    numbered = {f"evaluation/{number}.wav": f"{number:064x}" for number in range(3)}
    own = corpus(tmp_path / "own" / "corpus", numbered)
    theirs = {"development/0.wav": "a" * 64, "development/1.wav": "b" * 64, "development/x.wav": f"{1:064x}"}
    other = corpus(tmp_path / "other" / "corpus", theirs)
    names = lines(tmp_path / "names.txt", "0.wav", "#1.wav")
    report = audited(own, {"other": other}, other=IdListOptions(dataset="other"), names=names)
    counts = report["lists"]["other"]["splits"]["evaluation"]
    assert (counts["clips"], counts["name_only"], counts["by"]) == (2, 1, {"name": 2, "sha256": 1})
    assert "other: 1 of 3 evaluation clips are in it" in summary(report)
    assert "two splits" in summary(report)
    mark, of_names = marks(report, ["other", "names"], "evaluation")
    expected = {"list": "other", "kind": "dataset", "by": ["sha256"], "clips": 1, "of": 3, "name_only": 1}
    assert mark == expected
    assert (of_names["clips"], of_names["by"]) == (1, ["name"]) and "name_only" not in of_names
    leaked, unchecked = describe([mark], "evaluation")
    (line,) = leaked
    assert line.startswith("1 of 3 evaluation clips is in other, ") and "(the same audio)" in line
    assert len(unchecked) == 1 and "1 of 3 evaluation clips" in unchecked[0] and "name" in unchecked[0]
    assert describe([mark | {"clips": 0, "by": []}], "evaluation")[0] == []


def test_clips_without_audio_have_names_and_sources_alone(tmp_path):
    own = corpus(tmp_path / "own" / "corpus", {"evaluation/a.wav": "1" * 64, "evaluation/b.wav": "2" * 64})
    text = corpus(tmp_path / "text" / "corpus", {"development/a.wav": "", "evaluation/c.wav": ""})
    counts = audited(own, {"text": text}, text=IdListOptions(dataset="text"))["lists"]["text"]["splits"]["evaluation"]
    assert (counts["clips"], counts["name_only"], counts["by"]) == (1, 1, {"name": 1})
    (pair,) = audited(text)["within"]
    assert pair["by"] == {} and set(pair["clips"].values()) == {0}


def test_captions_that_name_no_recordings_are_not_taken_for_clean(tmp_path):
    own = corpus(tmp_path / "own" / "corpus", {"evaluation/a.wav": "1" * 64})
    rows = {"development/captions.csv:2": "", "development/captions.csv:3": ""}
    bare = corpus(tmp_path / "bare" / "corpus", rows)
    some = corpus(tmp_path / "some" / "corpus", {**rows, "development/a.wav": ""})
    lists = {name: IdListOptions(dataset=name) for name in ("bare", "some")}
    found = audited(own, {"bare": bare, "some": some}, **lists)
    assert found["lists"]["bare"]["clips"] is None and "recordings" in found["lists"]["bare"]["reason"]
    assert describe(marks(found, ["bare"], "evaluation"), "evaluation")[1]
    assert found["lists"]["some"]["clips"] == 1 and "2 of its 3 entries" in summary(found)


def test_lists_of_several_sources_in_json_are_looked_up(tmp_path):
    path = tmp_path / "blacklist.json"
    path.write_text('{"AudioSet": ["YAb1_-xyz012.wav"], "FreeSound": ["180913"]}', encoding="utf-8")
    clips = {f"evaluation/{name}.wav": f"{number:064x}" for number, name in enumerate(["180913", "7", "YAb1_-xyz012"])}
    own = corpus(tmp_path / "own", clips)
    report = audited(own, wavcaps=IdListOptions(files=[str(path)]))
    (mark,) = marks(report, ["wavcaps"], "evaluation")
    assert (mark["clips"], mark["of"], report["lists"]["wavcaps"]["entries"]) == (2, 3, 2)


@pytest.mark.parametrize(
    ("column", "message"),
    [("3", "is '3' the right `column`?"), ("4", "such as 'train'"), (None, "with `column`")],
)
def test_a_wrong_column_is_not_taken_for_a_clean_result(tmp_path, column, message):
    clip_id = "evaluation/r1nicOVtvkQ.wav"
    own = corpus(tmp_path / "own", {clip_id: "1" * 64}, [(clip_id, "youtube", "r1nicOVtvkQ")])
    path = tmp_path / "videos.csv"
    path.write_text('r1nicOVtvkQ,1,"people marching, in step",train\n', encoding="utf-8")
    report = audited(own, videos=IdListOptions(files=[str(path)], kind="youtube", column=column))
    (mark,) = marks(report, ["videos"], "evaluation")
    assert mark["clips"] is None and message in mark["reason"]
    assert message in describe([mark], "evaluation")[1][0]
    right = audited(own, videos=IdListOptions(files=[str(path)], kind="youtube", column="1"))
    assert marks(right, ["videos"], "evaluation")[0]["clips"] == 1


def test_lists_that_are_not_there_are_no_error(small, tmp_path):
    lists = {
        "absent": IdListOptions(files=[str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]),
        "unmade": IdListOptions(dataset="other"),
        "no_split": IdListOptions(dataset="thin", splits=["validation"]),
        "being_made": IdListOptions(dataset="next"),
    }
    thin = corpus(tmp_path / "thin" / "corpus", {"evaluation/a.wav": "9" * 64})
    report = audited(small, {"thin": thin, "next": tmp_path / "next"}, **lists)
    assert all(entry["clips"] is None for entry in report["lists"].values())
    reason = report["lists"]["absent"]["reason"]
    assert f"put it at {tmp_path / 'a.csv'}" in reason and f"put it at {tmp_path / 'b.csv'}" in reason
    for entry, name in (("unmade", "other"), ("being_made", "next")):
        assert f"results/{name}/corpus/clips.csv" in report["lists"][entry]["reason"]
    assert "it has evaluation" in report["lists"]["no_split"]["reason"]
    untold = marks(report, ["absent", "never_audited"], "evaluation")[2:]
    assert [mark["clips"] for mark in untold] == [None, None] and "`audit`" in untold[1]["reason"]
    leaked, unchecked = describe(untold, "evaluation")
    assert leaked == [] and "in absent" in unchecked[0] and "list" in unchecked[0]


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


def test_many_equal_files_take_no_longer_than_others(tmp_path):
    clips = {
        f"{split}/{number:05}.wav": "0" * 64 for number in range(20_000) for split in ("development", "evaluation")
    }
    folder = corpus(tmp_path / "same", clips)
    path = tmp_path / "digests.txt"
    path.write_text(f"{'0' * 64}\n" * 20_000, encoding="utf-8")
    begin = time.perf_counter()
    report = audited(folder, same=IdListOptions(files=[str(path)], kind="sha256"))
    assert time.perf_counter() - begin < 10  # some minutes where each is compared with all the others
    assert report["within"][0]["clips"] == {"development": 20_000, "evaluation": 20_000}
    assert report["lists"]["same"]["splits"]["evaluation"]["by"] == {"sha256": 20_000}
    assert (folder / "leaks.json").stat().st_size < 5_000 and len(found(folder, "same")) == 20_000


def test_an_audit_of_another_version_is_refused(small):
    audited(small)
    path = small / "leaks.json"
    path.write_text('{"schema": 1, "clips": {}}', encoding="utf-8")
    with pytest.raises(MismatchError, match=r"leaks\.json .*schema is 1, 2 "):
        read_audit(path)


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
