"""The folder layout: what just works with anybody's recordings, and what is refused with file, row and value."""

import csv
import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from earwitness.corpora.layouts.folder import Folder, FolderOptions
from earwitness.corpora.tables import ListedClip
from earwitness.errors import CorpusError
from earwitness.files import sha256
from tests.places import shared


def recordings(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    root.mkdir(exist_ok=True)
    return root


def layout(root, **options):
    return Folder(FolderOptions(layout="folder", audio=str(root), **options))


def listing(root, rows=None, **options):
    """The listing of a folder; rows of a table are its lines or its records."""
    if rows is not None:
        name = "t.csv" if isinstance(rows[0], str) else "t.jsonl"
        lines = rows if name == "t.csv" else [json.dumps(row) for row in rows]
        (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        options["table"] = name
    return layout(root, **options).listing(root)


def paths(found):
    return {clip.clip_id: clip.path for clip in found.clips}


def refused(root, **options):
    with pytest.raises(CorpusError) as caught:
        listing(root, **options)
    return str(caught.value)


def test_every_recording_is_a_clip(tmp_path):
    found = listing(recordings(tmp_path, "b.wav", "sub/é 1.FLAC", "a.mp3", "notes.txt", ".hidden/c.wav"))
    assert paths(found) == {f"evaluation/{name}": name for name in ("a.mp3", "b.wav", "sub/é 1.FLAC")}
    assert found.clips[0] == ListedClip("evaluation/a.mp3", "evaluation", "a.mp3", ())
    assert found.problems == [] and found.notes == {
        "splits": "evaluation",
        "split_by_default": "evaluation",
    }
    assert {clip.split for clip in listing(tmp_path, split="development").clips} == {"development"}


def test_folders_named_after_splits_are_splits(tmp_path):
    found = listing(recordings(tmp_path, "test/b.wav", "Train/x/a.wav", "val/a.wav", "train.csv"))
    assert paths(found) == {name: name for name in ("Train/x/a.wav", "val/a.wav", "test/b.wav")}
    assert [clip.split for clip in found.clips] == ["development", "validation", "evaluation"]
    assert [(clip.listed_split, clip.name) for clip in found.clips[:1]] == [("Train", "x/a.wav")]
    assert found.notes["splits"] == {"Train": "development", "test": "evaluation", "val": "validation"}


@pytest.mark.parametrize("other", ["stray.wav", "other/c.wav"])
def test_folders_named_after_splits_beside_others_are_none(tmp_path, other):
    found = listing(recordings(tmp_path, "train/a.wav", "test/b.wav", other), split="development")
    assert paths(found)[f"development/{other}"] == other and paths(found)["development/test/b.wav"] == "test/b.wav"
    assert {clip.split for clip in found.clips} == {"development"} and found.problems == []
    assert found.notes["folders_taken_for_no_split"] == {"train": 1, "test": 1}


def test_dev_beside_train_is_doubtful(tmp_path):
    assert listing(recordings(tmp_path, "dev/a.wav", "test/b.wav")).problems == []
    found = listing(recordings(tmp_path, "train/a.wav"))
    (problem,) = found.problems
    assert problem.startswith(f"{tmp_path}: ") and "'dev'" in problem and "'train'" in problem


@pytest.mark.parametrize("name", ["a\n.wav", "caf\udce9.wav"])
def test_recordings_with_names_that_no_table_can_hold(tmp_path, name):
    found = listing(recordings(tmp_path, "b.wav", name))
    assert len(found.problems) == 1 and repr(name) in found.problems[0]
    assert paths(found) == {"evaluation/b.wav": "b.wav"}


def test_a_table_of_captions(tmp_path):
    recordings(tmp_path, "a.wav", "sub/b.wav", "c.wav")
    found = listing(tmp_path, ["file_name,caption,tags", "sub/b.wav,rain,x", "a.wav,a dog,x", "sub/b.wav,wind,x"])
    assert found.clips == [
        ListedClip("evaluation/sub/b.wav", "evaluation", "sub/b.wav", ("rain", "wind")),
        ListedClip("evaluation/a.wav", "evaluation", "a.wav", ("a dog",)),
    ]
    assert found.problems == [] and found.notes == {
        "split_by_default": "evaluation",
        "tables": {"t.csv": sha256(tmp_path / "t.csv")},
        "unlisted_audio": {"t.csv": 1},
        "ignored_columns": {"t.csv": ["tags"]},
        "columns": {"name": "file_name", "captions": ("caption",), "split": None, "sources": ()},
    }


def test_a_row_of_everything(tmp_path):
    recordings(tmp_path, "a.flac")
    record = {"id": "a", "captions": ["rain", "wind"], "split": "Val", "youtube_id": "x", "freesound_id": 5}
    assert listing(tmp_path, [record]).clips == [
        ListedClip(
            "Val/a", "validation", "a.flac", ("rain", "wind"), "extension", "", (("youtube", "x"), ("freesound", "5"))
        )
    ]


def test_missing_recordings_are_listed_without_a_path(tmp_path):
    found = listing(recordings(tmp_path, "a.wav"), ["file,caption", "a.wav,x", "gone.wav,x"])
    assert paths(found) == {"evaluation/a.wav": "a.wav", "evaluation/gone.wav": None}
    assert found.problems == [] and found.clips[1].problem == ""


@pytest.mark.parametrize(
    ("files", "rows", "expected"),
    [
        (["x/a.wav"], ["train,a"], {"train/a": "x/a.wav"}),
        (["x/a.wav", "train/a.flac"], ["train,a.wav"], {"train/a.wav": "train/a.flac"}),
        (["test/a.wav", "train/a.wav"], ["train,a.wav"], {"train/a.wav": "train/a.wav"}),
        (["y/test/a.wav", "Train/a.wav"], ["train,a", "test,a"], {"train/a": "Train/a.wav", "test/a": "y/test/a.wav"}),
        (["a.wav", "test/a.wav"], ["train,a.wav", "test,a.wav"], {"train/a.wav": "a.wav", "test/a.wav": "test/a.wav"}),
        (["a.wav", "train/a.wav"], ["train,a.wav"], {"train/a.wav": "a.wav"}),
        (["train/a.wav"], ["train,a.wav", "test,a.wav"], {"train/a.wav": "train/a.wav", "test/a.wav": None}),
        (["train/a.wav"], ["test,a.wav"], {"test/a.wav": "train/a.wav"}),
        (["a.wav"], ["train,a.wav", "test,a.wav"], {"train/a.wav": "a.wav", "test/a.wav": "a.wav"}),
        (["train/a.wav", "test/a.wav"], ["train,test/a.wav"], {"train/test/a.wav": "test/a.wav"}),
        (["a_b.wav"], ["train,a b.wav", "test,a_b.wav"], {"train/a b.wav": None, "test/a_b.wav": "a_b.wav"}),
    ],
)
def test_which_file_is_meant(tmp_path, files, rows, expected):
    found = listing(recordings(tmp_path, *files), ["split,file", *rows])
    assert paths(found) == expected and found.problems == []
    assert found.notes["unlisted_audio"] == {"t.csv": len(set(files) - set(expected.values()))}


def test_two_candidates_are_refused(tmp_path):
    found = listing(recordings(tmp_path, "x/a.wav", "y/a.wav", "b.wav"), ["file", "a.wav", "b.wav"])
    assert found.clips[0].path is None and "may be 'x/a.wav' or 'y/a.wav'" in found.clips[0].problem
    assert paths(found)["evaluation/b.wav"] == "b.wav" and found.notes["unlisted_audio"] == {"t.csv": 2}


@pytest.mark.parametrize("named", ["title", None])
def test_a_table_none_of_whose_names_is_there(tmp_path, named):
    recordings(tmp_path, "x/12.wav", "x/13.wav")
    rows = ["title,file_name,id", "a,Bees.wav,12", "b,Rain.wav,13"]
    found = listing(tmp_path, rows, columns={"file": named})
    assert len(found.clips) == 2 and len(found.problems) == 1
    for fact in (named or "file_name", "a" if named else "Bees.wav", "x/12.wav", "id"):
        assert repr(fact) in found.problems[0]
    assert str(tmp_path) in found.problems[0] and "`columns: {file: ...}`" in found.problems[0]
    assert listing(tmp_path, rows, columns={"file": "id"}).problems == []


def test_a_table_without_any_recording(tmp_path):
    found = listing(tmp_path, ["file", "a.wav", "b.wav"])
    (problem,) = found.problems
    assert problem.startswith("t.csv ") and str(tmp_path) in problem and "`audio`" in problem
    assert [clip.path for clip in found.clips] == [None, None]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "t.csv: is empty"),
        ("sound,caption\na.wav,x\n", "t.csv: | file names"),
        ("file,caption\na.wav,\n", "t.csv, row 2: 'a.wav' has no caption"),
        ("file,caption,caption\na.wav,x,y\n", "t.csv: | 'caption' | more than once"),
        ("file,split\na.wav,train\nb.wav,fold1\n", "t.csv, row 3: the split is 'fold1'"),
    ],
)
def test_problems_of_the_table_are_the_listing_s(tmp_path, content, said):
    (recordings(tmp_path, "a.wav") / "t.csv").write_text(content, encoding="utf-8")
    problems = listing(tmp_path, table="t.csv").problems
    assert len(problems) == 1 and all(fact in problems[0] for fact in said.split(" | "))


def test_where_the_table_is(tmp_path, monkeypatch):
    audio, tables = recordings(tmp_path / "audio", "a.wav"), recordings(tmp_path / "tables")
    (tables / "t.csv").write_text("file\na.wav\n", encoding="utf-8")
    for options in (
        {"table": "t.csv", "tables": str(tables)},
        {"table": str(tables / "t.csv")},
        {"table": "../tables/t.csv"},
    ):
        assert [clip.path for clip in listing(audio, **options).clips] == ["a.wav"]
        assert [path.resolve() for path in layout(audio, **options).tables(audio)] == [tables / "t.csv"]
    monkeypatch.chdir(tables)
    assert f"{audio / 't.csv'} does not exist." in refused(audio, table="t.csv")
    assert f"{tables / 't.csv'} does exist" in refused(audio, table="t.csv")
    monkeypatch.chdir(tmp_path)
    assert (
        "Tables in" in (message := refused(audio, table="tt.csv", tables="tables"))
        and "did you mean 't.csv'?" in message
    )
    assert layout(audio, table="tt.csv").tables(audio) == layout(audio).tables(audio) == []


def test_nothing_to_list(tmp_path):
    assert "nowhere does not exist" in refused(tmp_path / "nowhere")
    assert f"{tmp_path} holds no recording" in refused(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"table": "t.xlsx"},
        {"table": ""},
        {"split": "train"},
        {"columns": {"name": "x"}},
        {"columns": {"captions": []}},
        {"columns": {"file": ""}},
        {"source": "clotho-2.1"},
    ],
)
def test_options_are_strict(options):
    with pytest.raises(ValidationError):
        FolderOptions(layout="folder", audio="x", **options)


def test_options_load_nothing_heavy():
    code = "import sys, earwitness.corpora.layouts.folder; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "numpy", "pyarrow", "torch", "requests", "soundfile"} & set(done.stdout.split())


def test_real_recordings_without_a_table():
    found = listing(shared("soundscapes"))
    splits = [clip.split for clip in found.clips]
    assert [splits.count(split) for split in ("development", "validation", "evaluation")] == [300, 60, 100]
    assert len(found.clips) == 460 and all(clip.clip_id == clip.path for clip in found.clips)


def test_real_recordings_with_their_captions():
    root = shared("clotho_real")
    found = listing(root, table="clotho_captions_evaluation.csv")
    assert len(found.clips) == 25 and {len(clip.captions) for clip in found.clips} == {5}
    assert all(clip.path for clip in found.clips) and found.problems == []
    assert found.notes["unlisted_audio"] == {"clotho_captions_evaluation.csv": 0}


def test_real_recordings_with_their_origin():
    root = shared("clotho_real")
    found = listing(root, table="recordings.csv", columns={"split": "clotho_v2_split"})
    splits = [clip.split for clip in found.clips]
    assert [splits.count(split) for split in ("development", "validation", "evaluation")] == [15, 6, 4]
    with (root / "recordings.csv").open(encoding="utf-8", newline="") as file:
        ids = [row["freesound_id"] for row in csv.DictReader(file)]
    assert [clip.sources for clip in found.clips] == [(("freesound", number),) for number in ids]
    assert all(clip.path for clip in found.clips) and found.problems == []


def test_real_json_lines():
    root = shared("soundscapes")
    found = listing(root, table="mixes.jsonl")
    assert len(found.clips) == 460 and found.problems == []
    assert all(clip.path == clip.clip_id and clip.found_by == "folder" for clip in found.clips)


def test_what_is_not_read_is_told(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "captions.csv").write_text("file_name,caption,set\na.wav,Rain falls,train\n")
    options = FolderOptions(layout="folder", audio=str(tmp_path))
    notes = Folder(options).listing(tmp_path).notes
    assert (notes["split_by_default"], notes["tables_not_read"]) == ("evaluation", ["captions.csv"])
    notes = Folder(options.model_copy(update={"table": "captions.csv"})).listing(tmp_path).notes
    assert (notes["split_by_default"], notes["ignored_columns"]) == ("evaluation", {"captions.csv": ["set"]})
    assert "tables_not_read" not in notes


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_names_that_are_absolute_or_of_windows(tmp_path, separator):
    for name in ("one/a.wav", "two/a.wav", "two/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [f"one{separator}a.wav", f"{tmp_path}/two/a.wav", f"C:\\mine{separator}b.wav"]
    (tmp_path / "t.csv").write_text("file_name,caption\n" + "".join(f"{name},rain\n" for name in names))
    found = Folder(FolderOptions(layout="folder", audio=str(tmp_path), table="t.csv")).listing(tmp_path)
    assert [clip.path for clip in found.clips] == ["one/a.wav", "two/a.wav", "two/b.wav"] and not found.problems
    assert [clip.name for clip in found.clips] == [names[0], "two/a.wav", names[2]]
