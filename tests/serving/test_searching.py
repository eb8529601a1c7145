"""What is found in an index, in which order, and what is said where something is wrong."""

import json
import shutil

import numpy as np
import pytest

from earwitness import serving
from earwitness.cli.main import main
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.files import sha256
from earwitness.serving.indexing import update
from earwitness.serving.models import identity
from earwitness.serving.searching import Hit, Searcher, read_texts
from earwitness.serving.store import Index, best
from earwitness.systems import interface
from tests.serving.conftest import write_model, write_tone


@pytest.fixture
def index(tones, model, tmp_path):
    update(tones, model, tmp_path / "earwitness-index.h5")
    return tmp_path / "earwitness-index.h5"


def test_texts_find_recordings(index, tones):
    one, two = serving.search(index, ["band 6", "bands 2 and 10"], k=2)
    assert [hit.rank for hit in one] == [1, 2] and one[0].found == str(tones / "below/6.wav")
    assert one[0].similarity == pytest.approx(1, abs=0.05) and one[1].similarity < 0.5
    assert {hit.found for hit in two} == {str(tones / "2.wav"), str(tones / "below/10.ogg")}
    assert isinstance(one[0], Hit)


def test_more_than_there_is_gives_all(index):
    assert len(serving.search(index, ["band 2"], k=99)[0]) == 5


def test_queries_that_cannot_be_answered(index):
    with pytest.raises(EarwitnessError, match="'  '"):
        serving.search(index, ["8", "  "])
    with pytest.raises(EarwitnessError, match="nan"):
        serving.search(index, ["nan"])
    for nothing in ([], "8"):  # a text alone would be a query for each letter
        with pytest.raises(EarwitnessError, match="list"):
            serving.search(index, nothing)
    for k in (0, -1):
        with pytest.raises(EarwitnessError, match=f"k is {k}"):
            serving.search(index, ["8"], k=k)


def test_recordings_find_recordings_and_texts(index, tones, tmp_path):
    write_tone(tmp_path / "query.wav", 8, rate=16000)
    searcher = Searcher(index)
    queries = searcher.of_recordings([tmp_path / "query.wav", tones / "2.wav", tmp_path / "query.wav"])
    assert [hits[0].found for hits in searcher.clips(queries, 1)] == [
        str(tones / "below/8.wav"), str(tones / "2.wav"), str(tones / "below/8.wav"),
    ]  # fmt: skip
    texts = searcher.texts(queries, ["band 2", "band 8", "band 2", "band 3"], 2)
    assert [hits[0].found for hits in texts] == ["band 8", "band 2", "band 8"] and len(texts[0]) == 2
    with pytest.raises(EarwitnessError) as caught:
        searcher.of_recordings([tmp_path / "gone.wav", tones / "notes.txt", tones / "2.wav"])
    assert "gone.wav" in str(caught.value) and "notes.txt" in str(caught.value) and "2.wav" not in str(caught.value)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_the_best_of_blocks_are_those_of_all(rows):
    rng = np.random.default_rng(0)
    embeddings = rng.integers(-2, 3, (100, 4)).astype(np.float32)  # with many ties
    queries = rng.integers(-2, 3, (3, 4)).astype(np.float32)
    found, scores = best(queries, (embeddings[start : start + rows] for start in range(0, 100, rows)), 7)
    for query, order, values in zip(queries, found, scores, strict=True):
        wanted = np.lexsort((np.arange(100), -(embeddings @ query)))[:7]
        assert order.tolist() == wanted.tolist() and values.tolist() == (embeddings @ query)[wanted].tolist()


def test_the_model_may_move_but_not_change(index, model, tmp_path):
    moved = tmp_path / "moved"
    shutil.move(model, moved)
    with pytest.raises(EarwitnessError, match=r"seed-0.*--model"):
        Searcher(index)
    assert Searcher(index, moved).clips(Searcher(index, moved).of_texts(["band 4"]), 1)[0][0].found.endswith("4.flac")
    with pytest.raises(MismatchError, match=r"index\.h5.*other"):
        Searcher(index, write_model(tmp_path / "other", scale=3.0))


def test_the_weights_of_a_model_are_digested_once(model, tmp_path, monkeypatch):
    digested = []
    monkeypatch.setattr(interface, "sha256", lambda path: digested.append(path) or sha256(path))
    interface.load(model)
    before = identity(model)
    assert digested == [model / "model.safetensors"]
    shutil.copy(write_model(tmp_path / "other", scale=2.0) / "model.safetensors", model)
    with pytest.raises(EarwitnessError, match="two trainings"):
        interface.read_model(model)
    assert len(digested) == 2 and before["weights"] != sha256(model / "model.safetensors")


def test_embeddings_of_another_width_are_refused(index):
    with pytest.raises(EarwitnessError, match=r"16 dimensions.* 3 "):
        Searcher(index).clips(np.ones((1, 3), dtype=np.float32))


def test_texts_come_from_lines_and_from_tables(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\n two \n", encoding="utf-8")
    (tmp_path / "a.csv").write_text("file_name,caption_1,caption_2\nx.wav,one,two\ny.wav,three,\n")
    (tmp_path / "a.json").write_text(json.dumps([{"caption": ["one", "two"]}, {"caption": "three"}]))
    assert read_texts(tmp_path / "a.txt") == ["one", "two"]
    assert read_texts(tmp_path / "a.csv") == read_texts(tmp_path / "a.json") == ["one", "two", "three"]
    bad = {"empty.txt": "\n", "none.csv": "file_name,x\na,b\n", "gone.csv": None, "a.xyz": "a", "no.csv": "caption\n"}
    bad["numbers.json"] = '[{"caption": 3}]'
    for name, content in bad.items():
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(EarwitnessError, match=name):
            read_texts(tmp_path / name)
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    with pytest.raises(EarwitnessError, match=r"latin\.txt"):
        read_texts(tmp_path / "latin.txt")


def test_a_recording_of_the_index_does_not_find_itself(index, model, tones, tmp_path, capsys):
    write_tone(tones / "copy.wav", 2)
    update(tones, model, index)
    searcher, names = Searcher(index), [tones / "2.wav", tmp_path / "tones/below/../4.flac"]
    first, second = searcher.clips(searcher.of_recordings(names), 9, names)
    assert first[0].found == str(tones / "copy.wav") and [hit.rank for hit in first] == [1, 2, 3, 4, 5]
    assert str(tones / "2.wav") not in {hit.found for hit in first}
    assert str(tones / "4.flac") not in {hit.found for hit in second}
    told = said(capsys, 0, "search", "--audio", tones / "2.wav", "-k", 2)
    lines = told.out.splitlines()
    assert len(lines) == 3 and lines[1].endswith("copy.wav") and not lines[2].endswith("/2.wav")


def test_texts_without_a_known_word_are_left_out_and_counted(index, tones, tmp_path, capsys):
    (tmp_path / "texts.json").write_text(json.dumps(["band 2", "band 8"]))
    searcher = Searcher(index)
    query = searcher.of_recordings([tones / "2.wav"])
    assert [hit.found for hit in searcher.texts(query, ["band 8", " ", "band 2", ""], 5)[0]] == ["band 2", "band 8"]
    (remark,) = searcher.remarks()
    assert remark.startswith("2 texts left out") and not searcher.remarks()
    with pytest.raises(EarwitnessError, match="' '"):
        searcher.texts(query, [" "], 5)


def test_how_another_model_differs_is_said(index, model, tmp_path):
    with pytest.raises(MismatchError, match=r"index\.h5.*seed-0.*other.*same settings and other weights"):
        Searcher(index, write_model(tmp_path / "other", scale=3.0))
    content = json.loads((model / "model.json").read_text())
    content["options"]["train"] = {"epochs": 7}
    (model / "model.json").write_text(json.dumps(content))
    with pytest.raises(MismatchError, match=r"earlier model.*train\.epochs: 30 and 7"):
        Searcher(index)


def said(capsys, code, *words):
    assert main(list(map(str, words))) == code
    return capsys.readouterr()


def test_the_commands(tones, model, tmp_path, capsys):
    made = said(capsys, 0, "index", tones, "--experiment", "bands", "--cores", 1)
    assert "recordings: 5" in made.out and "seed-0" in made.out
    lines = said(capsys, 0, "search", "band 4", "band 2", "-k", 1).out.split("\n")
    assert lines[0] == "band 4" and lines[1].split()[0] == "1" and lines[1].endswith("4.flac")
    assert lines[2:4] == ["", "band 2"] and lines[4].endswith("2.wav")
    (tmp_path / "texts.txt").write_text("band 10\nband 8\n")
    words = ["search", "--audio", tones / "below/8.wav", "--texts", "texts.txt", "--json"]
    for more in ([], ["--model", model, "--index", "none.h5"]):
        (found,) = json.loads(said(capsys, 0, *words, *more).out)
        assert found["query"].endswith("8.wav") and [hit["text"] for hit in found["results"]] == ["band 8", "band 10"]
        assert found["results"][0]["rank"] == 1 and found["results"][0]["similarity"] > 0.9
    (tones / "2.wav").write_bytes(b"")
    assert "2.wav" in said(capsys, 0, "index", tones, "--model", model, "--cores", 1).err


@pytest.mark.parametrize("number", ["x", "0", "-1", "1.5"])
def test_numbers_of_results_are_whole_and_positive(capsys, number):
    with pytest.raises(SystemExit):
        main(["search", "band 2", f"-k={number}"])
    assert f"-k: {number!r}" in capsys.readouterr().err


def test_recordings_that_are_gone_are_named(index, tones, capsys):
    (tones / "4.flac").unlink()
    told = said(capsys, 0, "search", "band 4", "-k", 2)
    assert "4.flac" in told.out and "4.flac" in told.err and "earwitness index" in told.err
    assert not said(capsys, 0, "search", "band 2", "-k", 1).err


def test_what_is_missing_of_a_command_is_said(tones, model, tmp_path, capsys):
    write_model(tmp_path / "results/other/bands/seed-1")
    write_model(tmp_path / "results/other/captions/seed-0", system="no_dual")
    told = said(capsys, 1, "index", tones).err
    assert "--experiment bands --dataset tones --seed 0" in told and "--dataset other --seed 1" in told
    assert "captions" not in told
    assert "other and tones" in said(capsys, 1, "index", tones, "--experiment", "bands").err
    assert "*/band/seed-*" in said(capsys, 1, "index", tones, "--experiment", "band").err
    assert "--model" in said(capsys, 1, "index", tones, "--experiment", "bands", "--model", model).err
    words = ["index", tones, "--experiment", "bands", "--dataset", "other", "--cores", 1]
    assert "seed-3" in said(capsys, 1, *words, "--seed", 3).err
    assert said(capsys, 0, *words).out
    assert "no_index.h5" in said(capsys, 1, "search", "x", "--index", "no_index.h5").err
    assert "--audio" in said(capsys, 1, "search").err
    assert "yet" in said(capsys, 1, "index", tones, "--results", tmp_path / "nothing").err
    assert len(Index(tmp_path / "earwitness-index.h5")) == 5
