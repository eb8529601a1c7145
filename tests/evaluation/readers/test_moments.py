"""``earwitness score moments``."""

import json

import pytest

from earwitness.evaluation.readers.moments import MomentFiles, read_moments
from earwitness.evaluation.readers.moments import score as score_files
from earwitness.evaluation.scores import read_scores
from tests.places import GOLDEN

TRUE = [
    {"qid": "a_1", "query": "a dog", "duration": 60, "vid": "a", "relevant_windows": [[10, 20], [30, 40]]},
    {"qid": "a_2", "query": "rain", "duration": 60, "vid": "a", "relevant_windows": [[0, 60]]},
    {"qid": "b_1", "query": "a bell", "duration": 90, "vid": "b", "relevant_windows": [[80, 90]]},
]
FOUND = [
    {"qid": "b_1", "query": "a bell", "vid": "b", "pred_relevant_windows": [[80, 90, 0.9]]},
    {"qid": "a_1", "query": "a dog", "vid": "a", "pred_relevant_windows": [[0, 5, 0.1], [10, 20, 0.9], [30, 39, 0.8]]},
    {"qid": "a_2", "query": "rain", "vid": "a", "pred_relevant_windows": [[0, 30, 0.5]]},
]
CASTELLA = [
    {
        "yid": "a",
        "global_caption": "x",
        "duration": 60,
        "num_moments": 3,
        "moments": [
            {"local_caption": "a dog", "timestamps": [[10, 20], [30, 40]]},
            {"local_caption": "rain", "timestamps": [[0, 60]]},
        ],
    },
    {"yid": "c", "global_caption": "x", "duration": 60, "num_moments": 0, "moments": []},
    {"yid": "b", "duration": 90, "moments": [{"local_caption": "a bell", "timestamps": [[80, 90]]}]},
]
TABLE = "qid,start,end,vid,duration\na_1,10,20,a,60\na_1,30,40,a,60\na_2,0,60,a,60\nb_1,80,90,b,90\n"
PREDICTED = "query_id,onset,offset,score\nb_1,80,90,.9\na_1,0,5,.1\na_1,10,20,.9\na_1,30,39,.8\na_2,0,30,.5\n"
VALUES = {"r1_50": 1, "r1_70": 2 / 3, "map_50": 1, "map_75": 2 / 3, "map_avg": 2.05 / 3}


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def changed(records, number, **values):
    """Records of which one has other values, as jsonl."""
    return lines([{**record, **(values if n == number else {})} for n, record in enumerate(records)])


@pytest.fixture
def given(write):
    return write("p.jsonl", lines(FOUND)), write("r.jsonl", lines(TRUE))


def main_values(content):
    return {name: content["metrics"][name]["value"] for name in VALUES}


@pytest.mark.parametrize(
    ("name", "predictions"),
    [
        ("p.jsonl", lines(FOUND)),
        ("p.json", FOUND),
        ("p.csv", PREDICTED),
        ("p.tsv", PREDICTED.replace(",", "\t")),
        ("p.json", {record["qid"]: record["pred_relevant_windows"] for record in FOUND}),
    ],
)
@pytest.mark.parametrize(
    ("other", "references"), [("r.jsonl", lines(TRUE)), ("r.json", CASTELLA), ("r.csv", TABLE), ("r.json", TRUE)]
)
def test_every_form_of_both_files(write, name, predictions, other, references):
    scored = score_files(MomentFiles(write(name, predictions), write(other, references)))
    values = {key: scored.evaluation.metrics[key]["value"] for key in VALUES}
    assert values == pytest.approx(VALUES)
    assert scored.evaluation.ids == ["a", "b"] and scored.counts["moments"] == 4
    assert scored.counts.get("recordings_without_captions", 0) == (references is CASTELLA)
    assert any("1 query " in note and "r1_50 0.6667" in note for note in scored.notes)  # the order of the file


def test_the_form_of_the_challenge_has_no_scores(write, given):
    without = [{**r, "pred_relevant_windows": [w[:2] for w in r["pred_relevant_windows"]]} for r in FOUND]
    path = write("s.jsonl", lines(without))
    values = [
        score_files(MomentFiles(path, given[1], protocol=protocol)).evaluation.metrics["r1_50"]["value"]
        for protocol in ("default", "lighthouse")
    ]
    assert values == pytest.approx([2 / 3, 2 / 3])


def test_the_command_writes_what_compare_reads(scored, given, tmp_path):
    content = scored("moments", *given, "--training", given[1], "--out", tmp_path / "out")
    assert main_values(content) == pytest.approx(VALUES)
    baselines = content["baselines"]
    assert [name.split(" (")[0] for name in baselines] == [
        "Whole recording", "Ten random windows", "Constant window", "True windows",
    ]  # fmt: skip
    assert baselines["Whole recording"]["r1_70"] == pytest.approx(1 / 3)
    assert baselines["True windows (upper bound)"]["map_avg"] == 1
    again = read_scores(tmp_path / "out")
    assert again.ids == ["a", "b"] and again.by_clip["r1_70"].tolist() == [0.5, 1]
    assert content["provenance"]["made_by"] == "score moments" and again.settings["protocol"] == "default"


def test_lighthouse_prints_its_own_figures(scored, write):
    content = json.loads((GOLDEN / "metrics_moments.json").read_text(encoding="utf-8"))["sets"]["edges"]
    files = [write(f"{key}.jsonl", lines(content[key])) for key in ("predictions", "ground_truth")]
    found = scored("moments", *files, "--protocol", "lighthouse")
    assert found["lighthouse"] == content["brief"]
    assert any("MR-full-mAP@0.75 59.03" in note for note in found["notes"])
    assert found["counts"]["moments_over_1500_s"] == 1 and found["counts"]["predictions_without_length"] == 3


@pytest.mark.parametrize(
    ("predictions", "references", "said"),
    [
        # of the golden file's behaviour
        (lines(FOUND[1:]), lines(TRUE), ["r.jsonl, row 3", "'b_1'", "--subset"]),
        (lines([*FOUND, FOUND[0]]), lines(TRUE), ["p.jsonl, row 4", "'b_1'", "row 1"]),
        (lines(FOUND), lines([*TRUE, TRUE[0]]), ["r.jsonl, row 4", "'a_1'", "row 1"]),
        (changed(FOUND, 0, pred_relevant_windows=[[90, 80, 1]]), lines(TRUE), ["p.jsonl, row 1, window 1", "90 to 80"]),
        (changed(FOUND, 0, pred_relevant_windows=[[9, 9, 1]]), lines(TRUE), ["p.jsonl, row 1, window 1", "no length"]),
        (lines(FOUND), changed(TRUE, 1, relevant_windows=[[5, 4]]), ["r.jsonl, row 2, window 1", "5 to 4"]),
        # others
        (lines(FOUND), json.dumps({**TRUE[0], "qid": "z"}), ["none of the 3", "another split"]),
        (changed(FOUND, 2, vid="b"), lines(TRUE), ["p.jsonl, row 3", "'a_2'", "'b'", "'a'"]),
        (lines([{**r, "query": f"no {n}"} for n, r in enumerate(FOUND)]), lines(TRUE), ["3 of 3", "'no 1'", "'a dog'"]),
        (changed(FOUND, 0, pred_relevant_windows=[[80]]), lines(TRUE), ["p.jsonl, row 1, window 1", "no end"]),
        (changed(FOUND, 0, pred_relevant_windows=[[80, None, 1]]), lines(TRUE), ["p.jsonl, row 1, window 1", "no end"]),
        (lines(FOUND), changed(TRUE, 0, relevant_windows=[[1, 2], [3, None]]), ["r.jsonl, row 1, window 2", "no end"]),
        (lines(FOUND), changed(TRUE, 0, relevant_windows=[["1:60", 90]]), ["r.jsonl, row 1", "'1:60'"]),
        (lines(FOUND), changed(TRUE, 0, relevant_windows="[[1, 2]]"), ["r.jsonl, row 1", "not a list"]),
        (lines(FOUND), changed(TRUE, 0, relevant_windows=[[1, 2, 3]]), ["r.jsonl, row 1", "'[1, 2, 3]'"]),
        (changed(FOUND, 0, pred_relevant_windows=[[80, 90]]), lines(TRUE), ["row 2, window 1", "row 1, window 1"]),
        (changed(FOUND, 0, pred_relevant_windows=[[80, 90, float("nan")]]), lines(TRUE), ["the score", "'nan'"]),
        (lines(FOUND), changed(TRUE, 0, relevant_windows=[[0, 1e300]]), ["r.jsonl, row 1, window 1", "1e+300"]),
        (lines(FOUND), changed(TRUE, 0, duration=1e300), ["r.jsonl, row 1", "'1e+300'"]),
        (lines(FOUND), changed(TRUE, 0, duration="long"), ["r.jsonl, row 1", "'long'"]),
        (lines([{"query": "a dog", "pred_relevant_windows": []}]), lines(TRUE), ["p.jsonl", "qid"]),
        (lines([{"qid": "a_1", "windows_found": []}]), lines(TRUE), ["p.jsonl", "starts of moments"]),
        ("", lines(TRUE), ["p.jsonl"]),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_named_by_file_row_and_value(score, write, predictions, references, said):
    code, out, err = score("moments", write("p.jsonl", predictions), write("r.jsonl", references))
    assert code == 1 and not out
    assert [word for word in said if word not in err] == []


def test_all_offenders_at_once(score, write):
    found = [{**r, "qid": f"{r['qid']}x", "pred_relevant_windows": [[9, 8, 1]]} for r in FOUND]
    _, _, err = score("moments", write("p.jsonl", lines(found)), write("r.jsonl", lines(TRUE)))
    assert all(f"row {n}" in err for n in (1, 2, 3)) and err.count("is not in") == 6


def test_csv_names_the_row_of_a_moment_without_end(score, write):
    path = write("r.csv", TABLE.replace("a_2,0,60", "a_2,0,"))
    code, _, err = score("moments", write("p.csv", PREDICTED), path)
    assert code == 1 and "r.csv, row 4" in err and "no end" in err


def test_times_in_minutes_and_seconds_are_read_and_said(scored, write, given):
    table = TABLE.replace("b_1,80,90", "b_1,1:20,0:01:30.0")
    content = scored("moments", given[0], write("r.csv", table))
    assert main_values(content) == pytest.approx(VALUES)
    assert any("r.csv" in note and note.startswith("2 times") for note in content["notes"])


def test_a_query_without_predictions_scores_0_and_is_told(scored, score, write, given):
    for path in (
        write("p.jsonl", changed(FOUND, 0, pred_relevant_windows=[])),
        write("p.csv", PREDICTED.replace("b_1,80,90,.9", "b_1,,,")),
    ):
        content = scored("moments", path, given[1])
        assert main_values(content)["r1_50"] == pytest.approx(2 / 3)
        assert content["counts"]["queries_without_predictions"] == 1
        assert any("map_50 1.0000 (not 0.6667)" in note for note in content["notes"])
        code, _, err = score("moments", path, given[1], "--protocol", "lighthouse")
        assert code == 1 and "'b_1'" in err


def test_a_query_that_holds_nowhere_is_left_out_and_counted(scored, write, given):
    content = scored("moments", given[0], write("r.jsonl", changed(TRUE, 2, relevant_windows=[])))
    assert content["counts"]["queries"] == 2 and content["counts"]["queries_without_moments"] == 1
    assert main_values(content)["map_50"] == 1


@pytest.mark.parametrize("protocol", ["default", "lighthouse"])
def test_a_query_that_holds_nowhere_needs_no_predictions(scored, score, write, protocol):
    references = write("r.jsonl", changed(TRUE, 2, relevant_windows=[]))
    given = [write("p.jsonl", lines(FOUND[1:])), references, "--protocol", protocol]
    content = scored("moments", *given)
    assert content["counts"]["queries_without_moments"] == 1 and "queries_left_out" not in content["counts"]
    assert any("p.jsonl" in note and "'b_1'" in note for note in content["notes"])
    empty = scored("moments", write("e.jsonl", changed(FOUND, 0, pred_relevant_windows=[])), *given[1:])
    assert main_values(content) == main_values(empty) and content["counts"] == empty["counts"]
    assert scored("moments", *given, "--subset")["counts"]["queries_left_out"] == 1
    code, _, err = score("moments", write("q.jsonl", lines(FOUND[2:])), *given[1:])
    assert code == 1 and "'a_1'" in err and "'b_1'" not in err


def test_subset_and_ids_spelt_otherwise(scored, write, given):
    content = scored("moments", write("p.jsonl", lines(FOUND[1:])), given[1], "--subset")
    assert content["counts"]["queries_left_out"] == 1 and content["counts"]["queries"] == 2
    upper = lines([{**record, "qid": record["qid"].upper()} for record in FOUND])
    assert main_values(scored("moments", write("q.jsonl", upper), given[1], "--match", "stem")) == pytest.approx(VALUES)


def test_predictions_in_milliseconds_are_refused(score, write, given):
    found = [{**r, "pred_relevant_windows": [[80_000, 90_000, 1]]} for r in FOUND]
    code, _, err = score("moments", write("p.jsonl", lines(found)), given[1])
    assert code == 1 and "p.jsonl" in err and "milliseconds" in err


def test_queries_without_a_recording_are_drawn_by_themselves(scored, write):
    table = "".join(",".join(line.split(",")[:3]) + "\n" for line in TABLE.splitlines())
    content = scored("moments", write("p.csv", PREDICTED), write("r.csv", table))
    assert content["counts"]["clips"] == 3 and any("vid" in note for note in content["notes"])
    assert list(content["baselines"]) == ["True windows (upper bound)"]  # the lengths are not known


def test_without_all_lengths_of_recordings_there_are_no_baselines_of_them(scored, write, given):
    path = write("r.jsonl", changed(TRUE, 0, duration=None))
    assert list(scored("moments", given[0], path)["baselines"]) == ["True windows (upper bound)"]
    found = scored("moments", given[0], path, "--training", write("t.jsonl", changed(TRUE, 1, duration=None)))
    assert next(iter(found["baselines"])).startswith("Constant window (0 to 60 s from the beginning")


def test_texts_that_differ_are_told(scored, write, given):
    content = scored("moments", write("p.jsonl", changed(FOUND, 2, query="Rain falls")), given[1])
    assert any("'a_2'" in note for note in content["notes"])


def test_castella_has_the_same_queries_in_both_forms(shared):
    of_json = read_moments(shared("captions", "castella", "en", "test.json"))
    of_lines = read_moments(shared("captions", "castella", "lighthouse", "castella_test_release.jsonl"))
    assert not of_json.problems and not of_lines.problems and of_json.without_captions == 74
    assert of_json.rows.keys() == of_lines.rows.keys() and len(of_json.rows) == 1347
    assert of_json.clips == of_lines.clips and len(set(of_json.clips.values())) == 566
