"""``earwitness score captions``."""

import json
import math

import pytest

from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers.captions import CaptionFiles, paired, read
from earwitness.evaluation.readers.captions import score as score_files
from earwitness.evaluation.readers.texts import read_candidates, read_references
from earwitness.evaluation.scores import read_scores

OFF = ("--spice-jars", "off", "--sentence-model", "off", "--fluency-model", "off")


@pytest.fixture
def pair(write):
    """Candidates and references of csv text, paired."""

    def pair(candidates, references, how="exact", subset=False):
        c = write("c.csv", f"file_name,caption\n{candidates}")
        r = write("r.csv", f"file_name,caption_1,caption_2\n{references}")
        return paired(read_candidates(c), read_references(r), how, subset)

    return pair


def test_clips_come_in_the_order_of_the_references(pair):
    texts, references, counts = pair("b,y\na,x\n", "a,1,2\nb,3,\n")
    assert list(texts.items()) == [("a", "x"), ("b", "y")]
    assert references == {"a": ["1", "2"], "b": ["3"]} and counts == {}


def test_clips_of_one_file_only_are_refused_with_file_and_row(pair):
    with pytest.raises(EarwitnessError) as caught:
        pair("A.WAV,x\nb.wav,y\nz,w\n", "a.wav,1,\nb.wav,2,\nc.wav,3,\n")
    _, *offenders, advice = str(caught.value).splitlines()
    expected = [("c.csv, row 2", "'A.WAV'", "'a.wav'"), ("c.csv, row 4", "'z'", "r.csv")]
    expected += [("r.csv, row 2", "'a.wav'", "'A.WAV'"), ("r.csv, row 4", "'c.wav'", "c.csv")]
    for offender, facts in zip(offenders, expected, strict=True):
        assert all(fact in offender for fact in facts)
    assert "did you mean" not in offenders[1] and "--match stem" in advice


@pytest.mark.parametrize("shared", [0, 2])
def test_files_of_other_clips_are_reported_in_one_line(pair, shared):
    candidates = "".join(f"{'s' if n < shared else 'c'}{n},x\n" for n in range(100))
    references = "".join(f"{'s' if n < shared else 'r'}{n},x,\n" for n in range(100))
    with pytest.raises(EarwitnessError) as caught:
        pair(candidates, references)
    (line,) = str(caught.value).splitlines()
    assert f"in both: {shared};" in line and "split" in line and "--match" not in line
    for name in "cr":
        examples = f"'{name}{shared}', '{name}{shared + 1}', '{name}{shared + 2}'"
        assert f"{100 - shared} only in {name}.csv, such as {examples}" in line


def test_files_whose_clips_are_all_spelt_otherwise_get_a_hint(pair):
    with pytest.raises(EarwitnessError, match=r"2 are alike\. .* --match stem"):
        pair("a,x\nb,y\n", "a.wav,1,\nb.wav,2,\n")


def test_all_clips_of_one_file_only_are_listed(pair):
    both = range(30)
    candidates = "".join(f"{name},x\n" for name in [*both, *(f"c{n}" for n in range(25))])
    references = "".join(f"{name},x,\n" for name in [*both, *(f"r{n}" for n in range(25))])
    with pytest.raises(EarwitnessError) as caught:
        pair(candidates, references)
    lines = str(caught.value).splitlines()
    assert len(lines) == 51 and "'c24'" in lines[25] and "'r24'" in lines[50]


@pytest.mark.parametrize("option", ["--spice-jars", "--sentence-model", "--fluency-model"])
def test_a_named_folder_that_is_none_is_refused(score, write, option):
    files = write("c.csv", "file_name,caption\na,x\n"), write("r.csv", "file_name,caption\na,x\n")
    code, out, err = score("captions", *files, *OFF, option, "none")
    assert code == 1 and out == "" and len(err.splitlines()) == 2
    assert f"  - {option} none: " in err and "spice.jars" not in err and "sentence_models" not in err


def test_stems_are_matched_when_that_is_asked_for(pair):
    texts, _, counts = pair("A,x\nb.wav,y\n", "a.wav,1,\nb.wav,2,\n", "stem")
    assert texts == {"a.wav": "x", "b.wav": "y"} and counts == {"clips_matched_by_stem": 1}


def test_a_subset_is_scored_when_that_is_asked_for(pair):
    with pytest.raises(EarwitnessError, match="--subset"):
        pair("a,x\n", "a,1,\nb,2,\nc,3,\n")
    texts, references, counts = pair("a,x\n", "a,1,\nb,2,\nc,3,\n", subset=True)
    assert list(texts) == list(references) == ["a"] and counts == {"clips_left_out": 2}
    with pytest.raises(EarwitnessError, match=r"c\.csv, row 3: clip 'z'"):
        pair("a,x\nz,w\n", "a,1,\n", subset=True)


def test_scores_and_files(write, score, tmp_path):
    candidates = write("c.csv", 'file_name,caption_predicted\na.wav,a dog barks\nb.wav,""\nc.wav,"rain,\nloud"\n')
    references = {"a.wav": ["a dog barks", "a dog"], "b.wav": ["a cat meows"], "c.wav": ["rain, loud"]}
    code, out, err = score("captions", candidates, write("r.json", references), *OFF, "--out", tmp_path / "out")
    assert code == 0 and err == ""
    content = json.loads((tmp_path / "out" / "metrics.json").read_text())
    metrics = content["metrics"]
    # Of 5 words in the captions all match; the closest references have 3 + 3 + 2.
    assert metrics["bleu_1"]["value"] == pytest.approx(math.exp(1 - 8 / 5), abs=1e-8)
    assert metrics["rouge_l"]["value"] == pytest.approx(2 / 3)
    assert metrics["rouge_l"]["ci95"] == [0, 1]
    assert metrics["spice"]["value"] is None and "off" in metrics["spice"]["reason"]
    assert content["counts"] == {"clips": 3, "references": 4, "captions_empty": 1}
    empty, keys = content["notes"]
    assert "1 of 3 captions" in empty and keys in out
    assert [option for option in ("--spice-jars", "--spice-cache", "--spice-minutes") if option in keys] == [
        "--spice-jars"
    ]
    assert "--sentence-model" in keys and "--fluency-model (fluency error detector)" in keys
    assert "bootstrap" in metrics["vocab_ratio"]["ci95_reason"]
    settings = content["provenance"]["settings"]
    assert settings["tools"] == {"spice": "none", "similarity": "none", "fluency": "none"}
    assert content["provenance"]["inputs"].keys() == {"candidates", "references"}
    back = read_scores(tmp_path / "out")
    assert back.ids == ["a.wav", "b.wav", "c.wav"] and back.captions["c.wav"] == "rain,\nloud"
    assert list(back.by_clip["rouge_l"]) == pytest.approx([1, 0, 1])
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["value", "95", "%", "interval"]
    assert ["rouge_l", "0.667", "0.000", "to", "1.000"] in lines and ["spice", "-"] in lines
    assert any(line[:1] == ["spice:"] for line in lines)
    assert out.splitlines()[-1] == "clips: 3, references: 4, captions empty: 1"


def test_python_and_the_command_line_give_the_same(scored, write):
    candidates = write("c.csv", "sound,caption\na,a dog barks\nb,rain\n")
    references = {"a.wav": ["a dog barks", "a dog"], "b.wav": ["it rains"], "c.wav": ["rain, loud"]}
    references = write("r.json", references)
    options = [*OFF, "--clip-column", "sound", "--match", "stem", "--subset"]
    content = scored("captions", candidates, references, *options)
    off = {"spice_jars": "off", "sentence_model": "off", "fluency_model": "off"}
    files = CaptionFiles(candidates, references, clip_column="sound", match="stem", subset=True, **off)
    found = score_files(files)
    assert content["counts"] == found.counts and content["counts"]["clips_left_out"] == 1
    for name, entry in found.evaluation.metrics.items():
        assert content["metrics"][name]["value"] == entry["value"]


def test_the_named_column_of_clips_is_that_of_the_references_too(write):
    candidates = write("c.csv", "sound,caption\na.wav,a dog barks\n")
    references = write("r.csv", "id,sound,caption\n1,a.wav,a dog barks\n2,a.wav,a dog\n")
    texts = read(CaptionFiles(candidates, references, clip_column="sound"))
    assert paired(*texts, "exact", False)[1] == {"a.wav": ["a dog barks", "a dog"]}
    texts = read(CaptionFiles(candidates, references, clip_column="sound", reference_clip_column="id"))
    assert list(texts[1].by_clip()) == ["1", "2"]


def coco(*names, captions=("a dog barks", "rain falls")):
    """Images and annotations; numbers are those of the order of names, captions those of a.wav and b.wav."""
    text = dict(zip(("a.wav", "b.wav"), captions, strict=True))
    images = [{"id": number, "file_name": name} for number, name in enumerate(names, 1)]
    notes = [{"id": n, "image_id": n, "caption": text[name]} for n, name in enumerate(names, 1)]
    return {"images": images, "annotations": notes}


@pytest.mark.parametrize(
    "candidates",
    [
        coco("b.wav", "a.wav"),  # numbers of images are of their file only
        {"a.wav": "a dog barks", "b.wav": "rain falls"},
        [{"file_name": "b.wav", "caption": "rain falls"}, {"file_name": "a.wav", "caption": "a dog barks"}],
        [{"image_id": "b.wav", "caption": "rain falls"}, {"image_id": "a.wav", "caption": "a dog barks"}],
        [{"image_id": 2, "caption": "rain falls"}, {"image_id": 1, "caption": "a dog barks"}],  # coco's own results
    ],
)
def test_coco_is_matched_by_file_name_or_number(write, candidates):
    files = CaptionFiles(write("c.json", candidates), write("r.json", coco("a.wav", "b.wav")))
    texts, references, _ = paired(*read(files), "exact", False)
    assert {clip: [text] for clip, text in texts.items()} == references
    assert sorted(texts.values()) == ["a dog barks", "rain falls"]


def test_coco_candidates_are_matched_with_a_table_of_files(write):
    references = write("r.csv", "file_name,caption\nb.wav,rain falls\na.wav,a dog barks\n")
    texts, _, _ = paired(*read(CaptionFiles(write("c.json", coco("b.wav", "a.wav")), references)), "exact", False)
    assert texts == {"a.wav": "a dog barks", "b.wav": "rain falls"}


def test_real_references_are_read_and_scored(shared, write, scored):
    references = shared("clotho_real", "clotho_captions_evaluation.csv")
    texts = read_references(references)
    table = write("c.json", [{"file_name": c, "caption": t[0].text} for c, t in texts.by_clip().items()])
    content = scored("captions", table, references, *OFF)
    assert content["counts"] == {"clips": 25, "references": 125, "captions_empty": 0}
    assert content["metrics"]["bleu_4"]["value"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("candidates", "references", "reason"),
    [("no.csv", "none.csv", "No such file or directory"), ("c.xlsx", "c.pkl", "known are .csv")],
)
def test_all_files_that_cannot_be_read_are_reported(score, candidates, references, reason):
    code, out, err = score("captions", candidates, references)
    _, first, second = err.splitlines()
    assert code == 1 and out == "" and first.count(f"- {candidates}: ") == first.count(reason) == 1
    assert second.count(f"- {references}: ") == second.count(reason) == 1


@pytest.mark.parametrize(
    "arguments", [[], ["captions", "c.csv"], ["captions", "c", "r", "--match", "nearly"], ["songs"]]
)
def test_wrong_usage_is_2(score, arguments):
    with pytest.raises(SystemExit) as caught:
        score(*arguments)
    assert caught.value.code == 2


def test_a_file_in_place_of_the_folder_is_refused_before_anything_is_scored(score, write):
    out = write("out", "x")
    code, _, err = score("captions", "no.csv", "none.csv", "--out", out)
    assert code == 1 and err.startswith(f"--out {out} is a file") and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"metrics.json": {"seeds": [0], "metrics": {}}}, "folder of an experiment"),
        ({"seed-0/metrics.json": {}}, "folder of an experiment"),
        ({"metrics.json": {"provenance": {"made_by": "score"}}}, "a metrics.json that `earwitness score`"),
        ({"metrics.json": [1]}, "a metrics.json that `earwitness score`"),
        ({"metrics.json": "{"}, "not valid JSON"),
    ],
)
def test_files_of_others_are_not_overwritten(score, write, tmp_path, files, reason):
    for name, content in files.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True)
        write(f"out/{name}", content)
    code, out, err = score("captions", "no.csv", "none.csv", "--out", tmp_path / "out")
    assert code == 1 and out == "" and str(tmp_path / "out") in err and reason in err and "no.csv" not in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [name.split("/")[0] for name in files]


def test_nothing_is_written_for_bad_input(score, write, tmp_path):
    code, _, _ = score("captions", write("c.csv", "x\n"), write("r.csv", "y\n"), "--out", tmp_path / "out")
    assert code == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["Y{}.wav", "{}_30_40.wav", "91140.ogg"])
def test_names_of_audiocaps_are_found_in_its_table(write, name):
    video = "-aaaa_aaaa_"
    c = write("c.csv", f"file_name,caption\n{name.format(video)},x\n")
    r = write("r.csv", f"audiocap_id,youtube_id,start_time,caption\n91139,{video},30,1\n91140,{video},30,2\n")
    files = read_candidates(c), read_references(r)
    assert paired(*files, "stem", False)[:2] == ({video: "x"}, {video: ["1", "2"]})
    with pytest.raises(EarwitnessError, match="--match stem"):
        paired(*files, "exact", False)


def test_half_a_character_is_told_with_file_and_row(write, tmp_path):
    c = write("c.json", '[{"clip_id": "a", "caption": "a \\ud800 dog"}, {"clip_id": "\\udfff", "caption": "x"}]')
    r = write("r.csv", "file_name,caption_1\na,1\n")
    with pytest.raises(EarwitnessError, match=r"c\.json, row 1: .*'a'(.|\n)*c\.json, row 2: "):
        score_files(CaptionFiles(c, r, spice_jars="off", sentence_model="off", fluency_model="off"))
