"""``earwitness score captions``."""

import json
import math

import pytest

from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers.captions import paired
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
    assert str(caught.value).splitlines() == [
        "These files cannot be scored:",
        "  - c.csv, row 2: clip 'A.WAV' has no references in r.csv ('a.wav' is: the folder, the extension, the case or "
        "blanks differ)",
        "  - c.csv, row 4: clip 'z' has no references in r.csv",
        "  - r.csv, row 2: clip 'a.wav' has no candidate in c.csv ('A.WAV', perhaps)",
        "  - r.csv, row 4: clip 'c.wav' has no candidate in c.csv",
        "Ids that differ in folder, extension, letter case or outer blanks only are taken for one by --match stem.",
    ]


@pytest.mark.parametrize("shared", [0, 2])
def test_files_of_other_clips_are_told_in_one_line(pair, shared):
    candidates = "".join(f"{'s' if n < shared else 'c'}{n},x\n" for n in range(100))
    references = "".join(f"{'s' if n < shared else 'r'}{n},x,\n" for n in range(100))
    with pytest.raises(EarwitnessError) as caught:
        pair(candidates, references)
    of = [f"'{name}{shared}', '{name}{shared + 1}', '{name}{shared + 2}'" for name in "cr"]
    assert str(caught.value) == (
        f"These files cannot be scored: clips that both have: {shared}; "
        f"c.csv alone has {100 - shared}, such as {of[0]}; "
        f"r.csv alone has {100 - shared}, such as {of[1]}. Are they of another split, or named otherwise?"
    )


def test_files_whose_clips_are_all_spelt_otherwise_are_told_so(pair):
    with pytest.raises(EarwitnessError, match=r"otherwise\? 2 are alike\. Ids that differ .* by --match stem"):
        pair("a,x\nb,y\n", "a.wav,1,\nb.wav,2,\n")


def test_the_first_twenty_of_many_clips_are_listed(pair):
    both = range(30)
    candidates = "".join(f"{name},x\n" for name in [*both, *(f"c{n}" for n in range(25))])
    references = "".join(f"{name},x,\n" for name in [*both, *(f"r{n}" for n in range(25))])
    with pytest.raises(EarwitnessError) as caught:
        pair(candidates, references)
    lines = str(caught.value).splitlines()
    assert len(lines) == 43 and "'c19'" in lines[20] and "'r19'" in lines[41]
    assert (
        lines[21] == "  - c.csv: and 5 more clips like these" and lines[42] == "  - r.csv: and 5 more clips like these"
    )


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--spice-jars", "The jars that SPICE needs are missing: none does not exist."),
        ("--sentence-model", "The sentence model 'none' is no folder"),
        ("--fluency-model", "The fluency error detector 'none' is no folder"),
    ],
)
def test_a_named_folder_that_is_none_is_refused(score, write, option, told):
    files = write("c.csv", "file_name,caption\na,x\n"), write("r.csv", "file_name,caption\na,x\n")
    code, out, err = score("captions", *files, *OFF, option, "none")
    assert code == 1 and out == "" and f"  - {option} none: {told}" in err


def test_stems_are_matched_when_that_is_asked_for(pair):
    texts, _, counts = pair("A,x\nb.wav,y\n", "a.wav,1,\nb.wav,2,\n", "stem")
    assert texts == {"a.wav": "x", "b.wav": "y"} and counts == {"clips_matched_by_stem": 1}


def test_a_subset_is_scored_when_that_is_asked_for(pair):
    with pytest.raises(EarwitnessError, match="left out, and counted, by --subset"):
        pair("a,x\n", "a,1,\nb,2,\nc,3,\n")
    texts, references, counts = pair("a,x\n", "a,1,\nb,2,\nc,3,\n", subset=True)
    assert list(texts) == list(references) == ["a"] and counts == {"clips_left_out": 2}
    with pytest.raises(EarwitnessError, match="clip 'z' has no references"):
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
    assert content["notes"] == [
        "1 of 3 captions have no word; they score 0 in the metrics of words",
        "What reasons name is an option of this command: --spice-jars for jars, --sentence-model for sentence model, "
        "--fluency-model for fluency error detector",
    ]
    assert content["notes"][1] in out
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


def test_real_references_are_read_and_scored(shared, write, scored):
    references = shared("clotho_real", "clotho_captions_evaluation.csv")
    texts = read_references(references)
    table = write("c.json", [{"file_name": c, "caption": t[0].text} for c, t in texts.by_clip().items()])
    content = scored("captions", table, references, *OFF)
    assert content["counts"] == {"clips": 25, "references": 125, "captions_empty": 0}
    assert content["metrics"]["bleu_4"]["value"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            ["captions", "no.csv", "none.csv"],
            1,
            "  - no.csv: cannot be read (No such file or directory)\n  - none.csv:",
        ),
        (["captions", "c.xlsx", "c.pkl"], 1, "  - c.xlsx: is of a kind that is not read; known are .csv"),
    ],
)
def test_all_files_that_cannot_be_read_are_told(score, arguments, code, told):
    found, out, err = score(*arguments)
    assert found == code and out == "" and told in err and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [[], ["captions", "c.csv"], ["captions", "c", "r", "--match", "nearly"], ["songs"]]
)
def test_wrong_usage_is_2(score, arguments):
    with pytest.raises(SystemExit) as caught:
        score(*arguments)
    assert caught.value.code == 2


def test_a_file_in_place_of_the_folder_is_told_before_anything_is_scored(score, write):
    out = write("out", "x")
    code, _, err = score("captions", "no.csv", "none.csv", "--out", out)
    assert code == 1 and err == f"--out {out} is a file; the name of a folder is needed.\n"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"metrics.json": {"seeds": [0], "metrics": {}}}, "is the folder of an experiment, whose results would be"),
        ({"seed-0/metrics.json": {}}, "is the folder of an experiment, whose results would be"),
        ({"metrics.json": {"provenance": {"made_by": "score"}}}, "has a metrics.json that `earwitness score` did not"),
        ({"metrics.json": [1]}, "has a metrics.json that `earwitness score` did not"),
        ({"metrics.json": "{"}, "is not valid JSON"),
    ],
)
def test_files_of_others_are_not_overwritten(score, write, tmp_path, files, told):
    for name, content in files.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True)
        write(f"out/{name}", content)
    code, out, err = score("captions", "no.csv", "none.csv", "--out", tmp_path / "out")
    assert code == 1 and out == "" and told in err and "no.csv" not in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [name.split("/")[0] for name in files]


def test_nothing_is_written_for_bad_input(score, write, tmp_path):
    code, _, _ = score("captions", write("c.csv", "x\n"), write("r.csv", "y\n"), "--out", tmp_path / "out")
    assert code == 1 and not (tmp_path / "out").exists()
