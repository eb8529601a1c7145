"""``earwitness score grounding``."""

import csv
import json
from dataclasses import asdict

import h5py
import numpy as np
import pytest

from earwitness.evaluation.readers.grounding import GroundingFiles
from earwitness.evaluation.readers.grounding import score as score_files
from earwitness.evaluation.scores import read_scores
from earwitness.metrics.grounding import Options

REFERENCES = "phrase_id,onset,offset\na.wav#1.1,0,1\na.wav#1.2,1,2\nb.wav#1.1,0.5,1.5\n"
DETECTED = "phrase_id,onset,offset\na.wav#1.1,0,1\na.wav#1.2,0,1\nb.wav#1.1,0.5,1.5\n"
PHRASES = (
    "phrase_id,caption_id,text\na.wav#1.1,a.wav#1,x\na.wav#1.2,a.wav#1,y\nb.wav#1.1,b.wav#1,z\nb.wav#1.2,b.wav#1,w\n"
)
ACTIVATIONS = {
    "a.wav#1.1": [1, 1, 0, 0],
    "a.wav#1.2": [0, 0, 1, 1],
    "b.wav#1.1": [0, 1, 1, 0],
    "b.wav#1.2": [0, 0.1, 0, 0],
}


def hdf(path, activations=ACTIVATIONS, hop=0.5, **more):
    with h5py.File(path, "w") as file:
        file["activations"] = np.concatenate([np.array(scores, dtype=np.float32) for scores in activations.values()])
        file["offsets"] = np.cumsum([0, *map(len, activations.values())])
        file.create_dataset("phrase_ids", data=list(activations), dtype=h5py.string_dtype())
        for name, values in more.items():
            file[name] = values
        if hop is not None:
            file.attrs["hop"] = hop
    return path


def values(content, *names):
    return [content["metrics"][name]["value"] for name in names]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", DETECTED),
        ("p.tsv", "\ufeff" + DETECTED.replace(",", "\t").replace("\n", "\r\n")),
        ("p.csv", DETECTED.replace("phrase_id,onset,offset", "pair;start;end").replace(",", ";")),
        ("p.json", {"a.wav#1.1": [[0, 1]], "a.wav#1.2": [[0, 1]], "b.wav#1.1": [[0.5, 1.5]]}),
        (
            "p.jsonl",
            "\n".join(
                json.dumps(dict(zip(("phrase_id", "onset", "offset"), row.split(","), strict=True)))
                for row in DETECTED.splitlines()[1:]
            ),
        ),
    ],
)
def test_events_of_every_kind(scored, write, name, content):
    found = scored("grounding", write(name, content), write("r.csv", REFERENCES))
    assert values(found, "event_f1", "event_er", "miou") == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    assert found["metrics"]["psds"] == {"value": None, "reason": "needs the frames' scores; only events are given"}
    assert found["counts"]["clips"] == 2 and found["counts"]["pairs"] == 3


@pytest.mark.parametrize("kind", ["h5", "json", "json with its hop"])
def test_frame_scores_of_every_kind(scored, write, tmp_path, kind):
    references, phrases = write("r.csv", REFERENCES), write("phrases.csv", PHRASES)
    match kind:
        case "h5":
            arguments = [hdf(tmp_path / "p.h5")]
        case "json":
            arguments = [write("p.json", ACTIVATIONS), "--hop", 0.5]
        case _:
            arguments = [write("p.json", {"hop": 0.5, "activations": ACTIVATIONS})]
    found = scored("grounding", *arguments, references, "--phrases", phrases)
    assert values(found, "segment_f1", "event_f1", "psds", "th_auc", "miou") == [1] * 5
    # Scaled to 0 to 1 the silent pair has one active frame of 7 that are: precision 6 / 7, recall 1.
    assert values(found, "frame_precision", "frame_recall") == pytest.approx([6 / 7, 1])
    assert found["counts"]["silent_pairs"] == found["counts"]["pairs_dropped"] == 1
    settings = found["provenance"]["settings"]
    assert settings == json.loads(json.dumps({"match": "exact", "subset": False, "hop": 0.5, **asdict(Options())}))
    assert len(found["curves"]["frame"]["f1"]) == 99


TEXTS = "file_name,phrase,onset,offset\na.wav,a dog,1,3\na.wav,rain,5,9\nb.wav,rain,0,2\n"


def test_pairs_are_files_and_texts_where_no_column_names_them(scored, write, tmp_path):
    references = write("r.csv", TEXTS)
    found = scored("grounding", references, references, "--out", tmp_path / "out")
    assert values(found, "event_f1", "miou") == [1, 1]
    assert found["counts"]["pairs"] == 3 and found["counts"]["clips"] == 2
    assert read_scores(tmp_path / "out").ids == ["a.wav", "b.wav"]
    swapped = TEXTS.replace("a dog,1,3", "rain,1,3").replace("rain,5,9", "a dog,5,9")
    assert values(scored("grounding", write("p.csv", swapped), references), "event_f1", "miou") == pytest.approx(
        [1 / 3] * 2
    )


def test_stems_of_files_and_texts(score, scored, write):
    references, detected = write("r.csv", TEXTS), write("p.csv", TEXTS.replace(".wav,a", ",A").replace(".wav", ""))
    code, _, err = score("grounding", detected, references)
    assert code == 1 and "'a: A dog' is not in r.csv (did you mean 'a.wav: a dog'?)" in err
    durations = write("d.csv", "clip_id,seconds\na,10\nb,10\n")
    found = scored("grounding", detected, references, "--match", "stem", "--durations", durations)
    assert values(found, "event_f1") == [1] and found["counts"]["clips"] == 2


def test_a_table_of_files_and_texts_names_all_pairs(scored, write):
    phrases = write("phrases.csv", "file_name,phrase\na.wav,a dog\na.wav,rain\nb.wav,rain\nb.wav,a dog\n")
    events = write("e.csv", TEXTS)
    found = scored("grounding", events, events, "--phrases", phrases)
    assert found["counts"]["pairs"] == 4 and found["counts"]["silent_pairs"] == 1


@pytest.mark.parametrize(
    ("predictions", "references", "place"),
    [
        (TEXTS, REFERENCES, "in p.csv (column 'phrase'), but not in r.csv"),
        ("file_name,onset,offset\na.wav,1,3\n", TEXTS, "in r.csv (column 'phrase'), but not in p.csv"),
    ],
)
def test_texts_in_one_file_only_are_refused(score, write, predictions, references, place):
    code, out, err = score("grounding", write("p.csv", predictions), write("r.csv", references))
    assert code == 1 and out == "" and place in err


def test_texts_do_not_name_the_pairs_of_frame_scores(score, write):
    code, _, err = score("grounding", write("p.json", {"a.wav": [0, 1]}), write("r.csv", TEXTS), "--hop", 1)
    assert code == 1 and "but not in p.json" in err and "phrase_id" in err


def test_a_missing_text_is_refused(score, write):
    code, _, err = score("grounding", write("p.csv", TEXTS + "a.wav,,1,2\n"), write("r.csv", TEXTS))
    assert code == 1 and "p.csv, row 5: the phrase is missing" in err


@pytest.mark.parametrize("name", ["score", "Scores", "confidence"])
@pytest.mark.parametrize("classes", [[], ["--classes"]])
def test_scores_of_detected_events_are_refused(score, scored, write, name, classes):
    references = "filename,event_label,onset,offset\na,dog,0,1\na,dog,2,3\n"
    rows = references.splitlines()
    with_scores = write("p.csv", "\n".join([f"{rows[0]},{name}", f"{rows[1]},0.9", f"{rows[2]},.05"]))
    code, out, err = score("grounding", with_scores, write("r.csv", references), *classes)
    assert code == 1 and out == "" and f"p.csv: the column '{name}' has 2 numbers" in err and "threshold" in err
    # Of references they may be how sure an annotator was.
    assert values(scored("grounding", write("p.csv", references), with_scores, *classes), "event_f1") == [1]


def test_scores_of_which_every_pair_has_some_above_1_are_refused(score, scored, write, tmp_path):
    percent = {name: [100 * score for score in scores] for name, scores in ACTIVATIONS.items()}
    references, phrases = write("r.csv", REFERENCES), write("phrases.csv", PHRASES)
    code, out, err = score("grounding", hdf(tmp_path / "p.h5", percent), references, "--phrases", phrases)
    assert code == 1 and out == "" and "p.h5: " in err and "above 1 (those of the first to 100)" in err
    some = ACTIVATIONS | {"a.wav#1.1": percent["a.wav#1.1"]}
    note = "the threshold 0.4 (are they percent?)"
    arguments = references, "--phrases", phrases, "--threshold", 0.4
    assert any(note in line for line in scored("grounding", hdf(tmp_path / "p.h5", some), *arguments)["notes"])
    assert not any(note in line for line in scored("grounding", hdf(tmp_path / "p.h5"), *arguments)["notes"])


@pytest.mark.parametrize("classes", [[], ["--classes"]])
def test_durations_in_milliseconds_are_refused(score, scored, write, classes):
    events = write("e.csv", "filename,event_label,onset,offset\na,dog,0,1\nb,dog,2,8\n")
    durations = write("d.csv", "filename,duration\na,10000\nb,10000\nc,900\n")
    code, out, err = score("grounding", events, events, "--durations", durations, *classes)
    assert code == 1 and out == "" and "d.csv: " in err and "10000 s and 1 s)" in err and "milliseconds" in err
    for seconds in ("a,10000\nb,10", "a,999\nb,999"):  # one long clip; clips that are quiet for long
        durations = write("d.csv", f"filename,duration\n{seconds}\n")
        scored("grounding", events, events, "--durations", durations, *classes)


def test_python_and_the_command_line_give_the_same(scored, write):
    detected, references = write("p.csv", DETECTED), write("r.csv", REFERENCES)
    found = score_files(GroundingFiles(detected, references, collar=0.1, silent="keep"))
    content = scored("grounding", detected, references, "--collar", 0.1, "--silent", "keep")
    assert values(content, "event_f1", "miou") == [
        found.evaluation.metrics[name]["value"] for name in ("event_f1", "miou")
    ]
    assert content["counts"] == found.counts and content["provenance"]["settings"]["t_collar"] == 0.1


def test_settings_are_those_of_the_command_line(scored, write):
    detected = write("p.csv", "phrase_id,onset,offset\na,0,5\nb,0.1,1\n")
    references = write("r.csv", "phrase_id,onset,offset\na,0,5.6\nb,0,1\n")
    arguments = ["grounding", detected, references]
    assert scored(*arguments)["metrics"]["event_f1"]["value"] == 1  # 0.6 s is less than a fifth of the length
    for more, name, value in (
        (["--offset-share", 0], "percentage_of_length", 0),
        (["--collar", 0.05], "t_collar", 0.05),
    ):
        found = scored(*arguments, *more)
        assert found["metrics"]["event_f1"]["value"] == 0.5 and found["provenance"]["settings"][name] == value


def test_frames_are_active_at_the_threshold_and_events_above_it(scored, write):
    path, references = write("p.json", {"p": [0, 0.5, 1, 1]}), write("r.csv", "phrase_id,onset,offset\np,1,2\n")
    found = scored("grounding", path, references, "--hop", 0.5, "--threshold", 0.5)
    assert values(found, "frame_precision", "miou") == pytest.approx([2 / 3, 1])


def test_the_files_hold_the_clips_values(scored, write, tmp_path):
    arguments = [write("p.csv", DETECTED), write("r.csv", REFERENCES), "--out", tmp_path / "out"]
    scored("grounding", *arguments)
    scored("grounding", *arguments)  # into the folder that it wrote before
    back = read_scores(tmp_path / "out")
    assert back.ids == ["a.wav", "b.wav"] and list(back.by_clip["miou"]) == [0.5, 1]
    assert "event_er" in back.statistics


def test_a_pair_that_an_event_list_does_not_name_has_no_detection(scored, write):
    found = scored("grounding", write("p.csv", DETECTED[: DETECTED.index("b.wav")]), write("r.csv", REFERENCES))
    assert values(found, "event_recall", "miou") == pytest.approx([1 / 3, 1 / 3])
    assert found["counts"]["pairs_without_detection_rows"] == 1


def test_silent_pairs_are_rows_without_times_or_of_the_phrases(scored, write):
    detected = write("p.csv", DETECTED + "b.wav#1.2,0,1\n")
    rows = scored("grounding", detected, write("r.csv", REFERENCES + "b.wav#1.2,,\n"), "--silent", "keep")
    table = write("phrases.csv", PHRASES)
    phrases = scored("grounding", detected, write("r.csv", REFERENCES), "--phrases", table, "--silent", "keep")
    for found in (rows, phrases):
        assert values(found, "event_precision", "miou") == pytest.approx([0.5, 0.5])
        assert found["counts"]["silent_pairs"] == 1 and found["counts"]["pairs_dropped"] == 0


@pytest.mark.parametrize(
    ("phrases", "captions"),
    [
        ("phrase_id,clip_id\np,a\nq,a\nr,b\n", None),
        ("phrase_id,caption_id\np,a#1\nq,a#2\nr,b#1\n", None),
        ("phrase_id,caption_id\np,c\nq,c\nr,d\n", "caption_id,clip_id\nc,a\nd,b\n"),
    ],
)
def test_phrases_name_the_clips(scored, write, tmp_path, phrases, captions):
    events = write("e.csv", "phrase_id,onset,offset\np,0,1\nq,0,1\nr,1,2\n")
    more = [] if captions is None else ["--captions", write("captions.csv", captions)]
    arguments = ["--phrases", write("phrases.csv", phrases), *more, "--out", tmp_path / "out"]
    durations = write("d.tsv", "filename\tduration\na\t4\nb\t5\nc\t6\n")
    scored("grounding", events, events, *arguments, "--durations", durations)
    assert read_scores(tmp_path / "out").ids == ["a", "b"]


def test_predictions_and_references_may_name_the_clips(scored, write, tmp_path):
    references = write("r.csv", "phrase_id,clip_id,onset,offset\np,a,0,1\nq,a,0,1\n")
    activations = {"p": [1, 0], "q": [1, 0]}
    assert scored("grounding", hdf(tmp_path / "p.h5", activations), references)["counts"]["clips"] == 1
    path = hdf(tmp_path / "p.h5", activations, clip_ids=["c", "d"])
    assert scored("grounding", path, write("r.csv", "phrase_id,onset,offset\np,0,.5\nq,0,.5\n"))["counts"]["clips"] == 2


def test_a_subset_of_the_phrases(score, scored, write, tmp_path):
    path = hdf(tmp_path / "p.h5", {name: ACTIVATIONS[name] for name in list(ACTIVATIONS)[:2]})
    arguments = [path, write("r.csv", REFERENCES), "--phrases", write("phrases.csv", PHRASES)]
    code, _, err = score("grounding", *arguments)
    assert code == 1 and "phrases.csv, row 4: 'b.wav#1.1' has no scores in p.h5" in err and "--subset" in err
    assert scored("grounding", *arguments, "--subset")["counts"]["pairs_left_out"] == 2


@pytest.mark.parametrize(
    ("predictions", "references", "more", "facts"),
    [
        (DETECTED + "z,0,1\n", REFERENCES, [], ["p.csv: 'z' is not in r.csv", "--phrases"]),
        (
            DETECTED.replace("b.wav#1.1", "B.WAV#1.1"),
            REFERENCES,
            [],
            ["p.csv: 'B.WAV#1.1' is not in r.csv", "'b.wav#1.1'?", "--match stem"],
        ),
        (DETECTED, REFERENCES, ["--subset"], ["p.csv is an event list", "--subset"]),
        (DETECTED + "z,0,x\n", REFERENCES, [], ["p.csv, row 5: the offset 'x'"]),
        (DETECTED + "z,,x\n", REFERENCES, [], ["p.csv, row 5: the onset ''", "p.csv, row 5: the offset 'x'"]),
        (DETECTED + "a.wav#1.1,-1,1\n", REFERENCES, [], ["p.csv, row 5: ", "'a.wav#1.1'", "-1 to 1 s"]),
        (DETECTED, REFERENCES.replace("onset", "when"), [], ["r.csv: no column", "onsets", "'when'"]),
        (
            "filename,onset,offset,event_label\na,0,1,dog\nb,0,1,cat\n",
            "filename,onset,offset,event_label\na,0,1,dog\nb,0,1,cat\n",
            [],
            ["r.csv has events of 2 classes ('dog', 'cat')", "--classes"],
        ),
    ],
)
def test_events_that_cannot_be_scored(score, write, predictions, references, more, facts):
    code, out, err = score("grounding", write("p.csv", predictions), write("r.csv", references), *more)
    assert code == 1 and out == "" and all(fact in err for fact in facts)


def test_stems_of_pairs(scored, write):
    detected = write("p.csv", DETECTED.replace("b.wav#1.1", "x/B.WAV#1.1"))
    found = scored("grounding", detected, write("r.csv", REFERENCES), "--match", "stem")
    assert values(found, "event_recall") == pytest.approx([2 / 3])


def break_offsets(path):
    with h5py.File(path, "a") as file:
        file["offsets"][-1] = 3


def twice(path):
    with h5py.File(path, "a") as file:
        file["phrase_ids"][1] = "a.wav#1.1"


def without_offsets(path):
    with h5py.File(path, "a") as file:
        del file["offsets"]


def more_clips(path):
    with h5py.File(path, "a") as file:
        file["clip_ids"] = ["a"]


def odd_hop(path):
    with h5py.File(path, "a") as file:
        file.attrs["hop"] = "20 ms"


def square_offsets(path):
    with h5py.File(path, "a") as file:
        del file["offsets"]
        file["offsets"] = [[0, 4], [8, 12]]


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (odd_hop, ["the hop '20 ms'"]),
        (square_offsets, ["offsets ", "one-dimensional"]),
        (break_offsets, ["offsets must be 5 integers", "0 to the 16 activations"]),
        (twice, ["'a.wav#1.1'", "more than once"]),
        (without_offsets, ["no offsets", "'activations', 'phrase_ids'"]),
        (more_clips, ["1 clip_ids for 4 pairs"]),
    ],
)
def test_frame_scores_that_cannot_be_read(score, write, tmp_path, change, facts):
    change(hdf(tmp_path / "p.h5"))
    code, _, err = score("grounding", tmp_path / "p.h5", write("r.csv", REFERENCES))
    assert code == 1 and "p.h5: " in err and all(fact in err for fact in facts)


def test_the_hop_is_given_once(score, write, tmp_path):
    references, phrases = write("r.csv", REFERENCES), write("phrases.csv", PHRASES)
    path = hdf(tmp_path / "p.h5", hop=None)
    code, _, err = score("grounding", path, references, "--phrases", phrases)
    assert code == 1 and err.startswith("p.h5 ") and "--hop" in err
    path = hdf(tmp_path / "p.h5")
    code, _, err = score("grounding", path, references, "--phrases", phrases, "--hop", 0.25)
    assert code == 1 and "--hop is 0.25 s" in err and "p.h5 says 0.5 s" in err


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        ("clip_id,seconds\na.wav,2\n", ["d.csv: clip 'b.wav'"]),
        ("clip_id,seconds\na.wav,2\nB,2\n", ["d.csv: clip 'b.wav'", "did you mean 'B'?"]),
        ("clip_id,seconds\na.wav,2\nb.wav,long\n", ["d.csv, row 3: the duration 'long'"]),
        ("clip_id,seconds\na.wav,2\na.wav,3\n", ["d.csv, row 3: clip 'a.wav'", "3 s, but 2 s"]),
        ("clip_id,secs\na.wav,2\n", ["d.csv: no column", "durations", "'secs'"]),
    ],
)
def test_durations_that_do_not_fit(score, write, content, facts):
    arguments = [write("p.csv", DETECTED), write("r.csv", REFERENCES), "--durations", write("d.csv", content)]
    code, _, err = score("grounding", *arguments)
    assert code == 1 and all(fact in err for fact in facts)


CLASSES = "filename\tonset\toffset\tevent_label\na.wav\t0\t2\tdog\na.wav\t3\t4\tcat\nb.wav\t0\t1\tdog\n"
FOUND = "filename\tonset\toffset\tevent_label\na.wav\t0\t2\tdog\na.wav\t3\t4\tdog\nb.wav\t0\t1\tdog\n"


def test_classes_are_scored_by_file(scored, score, write, tmp_path):
    arguments = [write("p.tsv", FOUND), write("r.tsv", CLASSES), "--classes"]
    found = scored("grounding", *arguments)
    # One of three detections bears the wrong label: a substitution. Of dog 2 of 3 detections are right, of cat none is.
    assert values(found, "event_f1", "event_er", "event_f1_macro") == pytest.approx([2 / 3, 1 / 3, (0.8 + 0) / 2])
    # Of 4 active segments in each table 3 agree.
    assert values(found, "segment_f1", "segment_er") == pytest.approx([3 / 4, 1 / 4])
    expected = {"segment_f1": 0, "segment_er": 1, "event_f1": 0, "event_er": 1}
    assert found["classes"]["cat"] == pytest.approx(expected)
    assert found["counts"] == {"files": 2, "classes": 2, "references": 3, "detections": 3}
    assert found["metrics"]["event_f1"]["ci95"] == [0.5, 1]  # the one file alone, or the other
    assert "mean over classes" in found["metrics"]["event_f1_macro"]["ci95_reason"]
    assert "ci95_reason" not in found["metrics"]["segment_f1"]
    settings = {"match": "exact", "classes": True, "time_resolution": 1, "t_collar": 0.2, "percentage_of_length": 0.2}
    settings["grid"] = "decimal"
    assert found["provenance"]["settings"] == settings
    out = score("grounding", *arguments)[1]
    assert ["cat", "0.000", "1.000", "0.000", "1.000"] in [line.split() for line in out.splitlines()]


def test_rows_without_times_are_no_class(scored, write):
    silent = "k4.wav\tnan\tnan\tnan\nk5.wav\t\t\tcat\n"
    events = [write("p.tsv", FOUND), write("r.tsv", CLASSES.replace("cat", "dog") + silent)]
    found = scored("grounding", *events, "--classes")
    assert (found["counts"]["files"], found["counts"]["classes"]) == (4, 1) and list(found["classes"]) == ["dog"]
    assert values(found, "event_f1_macro") == [1]


@pytest.mark.parametrize("classes", [[], ["--classes"]])
def test_segments_and_collars_are_compared_in_decimals(scored, write, classes):
    """In binary 0.3 s is less than three segments of 0.1 s, and 4.3 s more than 0.2 s from 4.1 s."""
    header = "filename,onset,offset,event_label\n"
    references = write("r.csv", f"{header}a,0.3,0.6,dog\nb,4.1,4.6,dog\n")
    detected = write("p.csv", f"{header}a,0.6,0.9,dog\nb,4.3,4.6,dog\n")
    arguments = ["grounding", detected, references, *classes, "--segment", 0.1]
    found, theirs = scored(*arguments), scored(*arguments, "--grid", "sed_eval")
    # Of a no segment is shared; of b the three from 4.3 s on, of 5 and 3. Its onsets are one collar apart.
    assert values(found, "segment_f1", "event_f1") == pytest.approx([2 * 3 / (8 + 6), 1 / 2])
    assert values(theirs, "event_f1") == [0] and values(theirs, "segment_f1")[0] > values(found, "segment_f1")[0]
    segments, collars = (next(n for n in theirs["notes"] if f"{kind}_f1" in n) for kind in ("segment", "event"))
    assert "segment_f1 0.428571" in segments and "event_f1 0.5, here 0" in collars
    assert any("event_f1 0, here 0.5" in note for note in found["notes"])
    assert theirs["provenance"]["settings"]["grid"] == "sed_eval"
    # On a grid that is exact in binary there is nothing to say.
    assert not any("grid" in n for n in scored(*arguments[:-1], 0.5, "--collar", 0.5)["notes"])


@pytest.mark.parametrize("classes", [[], ["--classes"]])
def test_times_beyond_any_recording_are_refused_by_row(score, scored, write, classes):
    header = "filename,onset,offset,event_label\n"
    references = write("r.csv", f"{header}a,0.3,0.6,dog\nb,1,2,dog\nc,1,2,dog\n")
    samples = write("p.csv", f"{header}a,0.3,0.6,dog\nb,44100,88200,dog\nc,44100,88200,dog\n")
    code, out, err = score("grounding", samples, references, *classes)
    assert code == 1 and out == "" and len(err.splitlines()) == 3 and "p.csv, row 4: " in err
    assert "p.csv, row 3: " in err and "88200 s" in err and "samples" in err
    milliseconds = write("p.csv", f"{header}a,300,600,dog\nb,1000,2000,dog\nc,1000,2000,dog\n")
    code, out, err = score("grounding", milliseconds, references, *classes)
    assert code == 1 and out == "" and "p.csv, row 2: " in err and "600 s" in err and "milliseconds" in err
    durations = "filename,seconds\na,{0}\nb,{0}\nc,{0}\n"
    arguments = [*classes, "--durations", write("d.csv", durations.format(10))]
    code, out, err = score("grounding", milliseconds, references, *arguments)
    assert code == 1 and out == "" and len(err.splitlines()) == 4 and "row 4: " in err and "milliseconds" in err
    arguments = [*classes, "--durations", write("d.csv", durations.format(100_000))]
    assert scored("grounding", samples, samples, *arguments)["metrics"]["segment_f1"]["value"] == 1
    # Without durations a late end alone is only asked about.
    late = write("l.csv", f"{header}a,0.3,0.6,dog\nb,4000,5000,dog\n")
    assert any("5000 s" in note for note in scored("grounding", late, references, *classes)["notes"])


def test_references_after_their_frame_scores_are_refused_by_row(score, write, tmp_path):
    references = write("r.csv", REFERENCES + "b.wav#1.1,1000,1500\nb.wav#1.2,,\n")
    code, _, err = score("grounding", hdf(tmp_path / "p.h5"), references)
    assert code == 1 and len(err.splitlines()) == 2 and "r.csv, row 5: " in err
    assert "'b.wav#1.1'" in err and "1500 s" in err and "milliseconds" in err


@pytest.mark.parametrize("durations", [None, "filename,duration\na.wav,10\nb.wav,10\nc.wav,10\n"])
def test_the_files_counts_give_the_value_over_all_files(scored, shared, write, tmp_path, durations):
    labels = shared("soundscapes", "strong_labels_evaluation.tsv").read_text().splitlines()
    detected = "\n".join([labels[0], *(line.replace("rain", "dog") for line in labels[1:120])])
    path, arguments = write("p.tsv", detected), []
    if durations is not None:
        files = dict.fromkeys(line.split("\t")[0] for line in labels[1:])
        table = "\n".join(["filename,duration", *(f"{file},10.1" for file in [*files, "silent.ogg"])])
        arguments = ["--durations", write("d.csv", table)]
    references = write("r.tsv", "\n".join(labels))
    found = scored("grounding", path, references, "--classes", *arguments, "--out", tmp_path / "out")
    back = read_scores(tmp_path / "out")
    with (tmp_path / "out" / "scores.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["clip_id"] for row in table] == back.ids
    assert sum(int(row["references"]) for row in table) == 317 and sum(int(row["detections"]) for row in table) == 119
    for kind in ("segment", "event"):
        right, detections, true = back.statistics[f"{kind}_f1"].columns.sum(axis=0)
        assert found["metrics"][f"{kind}_f1"]["value"] == pytest.approx(2 * right / (detections + true), abs=1e-12)
        assert found["metrics"][f"{kind}_er"]["ci95"] is not None
    assert found["counts"]["files"] == 100 + (durations is not None)


@pytest.mark.parametrize(
    ("predictions", "more", "facts"),
    [
        (FOUND.replace("b.wav", "c.wav"), [], ["p.tsv, row 4: 'c.wav' is not in r.tsv", "--durations"]),
        (FOUND.replace("b.wav", "b"), [], ["p.tsv, row 4: 'b' is not in r.tsv", "did you mean 'b.wav'?"]),
        ("filename\tonset\toffset\na.wav\t0\t2\n", [], ["p.tsv, row 2: ", "no label"]),
        (FOUND + "b.wav\t3\t4\tnan\n", [], ["p.tsv, row 5: ", "no label"]),
        (FOUND + "b.wav\t3\t2\tdog\nb.wav\t-1\t2\tdog\n", [], ["p.tsv, row 5: ", "2 s", "p.tsv, row 6: ", "-1"]),
        (FOUND.replace("filename", "recording"), [], ["p.tsv: ", "for files, ", "'filename'", "'recording'"]),
        (FOUND, ["--silent", "keep"], ["--classes does not use --silent"]),
        (FOUND, ["--silent", "keep", "--threshold", "0.5"], ["--silent and --threshold"]),
    ],
)
def test_classes_that_cannot_be_scored(score, write, predictions, more, facts):
    code, _, err = score("grounding", write("p.tsv", predictions), write("r.tsv", CLASSES), "--classes", *more)
    assert code == 1 and all(fact in err for fact in facts)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.tsv", "filename\tonset\toffset\tevent_label\n"),
        ("p.json", []),
        ("p.json", {}),
        ("p.json", {"filename": {}, "onset": {}, "offset": {}}),  # as pandas writes it
    ],
)
@pytest.mark.parametrize("classes", [[], ["--classes"]])
def test_no_detection_at_all(score, scored, write, name, content, classes):
    references = CLASSES.replace("cat", "dog")
    detected, references = write(name, content), write("r.tsv", references)
    names = [f"{kind}_{metric}" for kind in ("segment", "event") for metric in ("f1", "precision", "er")]
    found = scored("grounding", detected, references, *classes)
    assert values(found, *names) == pytest.approx([0, 0, 1] * 2) and found["counts"]["detections"] == 0
    code, _, err = score("grounding", references, detected, *classes)  # but without a reference there is no score
    assert code == 1 and f"{name}: " in err
    texts = write("t.csv", TEXTS)
    assert classes or values(scored("grounding", detected, texts), "event_er", "miou") == pytest.approx([1, 0])


@pytest.mark.parametrize("change", [lambda row: row, lambda row: row.replace("\t", "\thome\t", 1)])
def test_lists_without_a_header(score, scored, write, change):
    """As sed_eval reads them: file, onset, offset and label, perhaps with a scene before the onset."""
    plain = ["".join(map(change, text.splitlines(keepends=True)[1:])) for text in (FOUND, CLASSES)]
    expected = scored("grounding", write("p.tsv", FOUND), write("r.tsv", CLASSES), "--classes")
    durations = ["--durations", write("d.txt", "a.wav\t9\nb.wav\t9\n")]
    found = scored("grounding", write("p.txt", plain[0]), write("r.txt", plain[1]), "--classes", *durations)
    assert values(found, "segment_f1", "event_er_macro") == values(expected, "segment_f1", "event_er_macro")
    assert found["counts"]["files"] == 2
    odd = write("p.txt", plain[0] + change("b.wav\t1\tx\tdog\n"))
    code, _, err = score("grounding", odd, write("r.txt", plain[1]), "--classes")
    assert code == 1 and "p.txt, row 4: the offset 'x'" in err
    scores = write("p.csv", "a.wav,0,2,dog,0.8\na.wav,3,4,dog,0.4\n")
    code, _, err = score("grounding", scores, write("r.txt", plain[1]), "--classes")
    assert code == 1 and "p.csv: " in err and "2 numbers" in err and "threshold" in err


def test_files_are_named_by_their_column_where_phrases_are_not_asked_for(scored, write):
    both = "phrase_id,filename,onset,offset,event_label\np,a,0,1,dog\nq,a,0,1,dog\n"
    found = scored("grounding", write("p.csv", both), write("r.csv", both), "--classes")
    assert found["counts"]["files"] == 1


def test_events_that_end_after_their_file_are_told_of(scored, write):
    events = write("e.tsv", CLASSES)
    durations = ["--durations", write("d.csv", "filename,seconds\na.wav,3.5\nb.wav,3\n")]
    found = scored("grounding", events, events, "--classes", *durations)
    assert any("2 of 6 events" in note for note in found["notes"])


def test_classes_are_not_made_from_frame_scores(score, write, tmp_path):
    code, _, err = score("grounding", hdf(tmp_path / "p.h5"), write("r.tsv", CLASSES), "--classes")
    assert code == 1 and err.startswith("p.h5 has frame scores") and "--classes" in err


@pytest.mark.parametrize(
    ("option", "value", "what"),
    [
        *(("--hop", value, "positive number") for value in ("0", "-1", "nan", "inf", "x")),
        *(("--offset-share", value, "number from 0 to 1") for value in ("-0.1", "1.1", "nan", "x")),
    ],
)
def test_settings_out_of_range_are_wrong_usage(score, capsys, option, value, what):
    with pytest.raises(SystemExit) as caught:
        score("grounding", "p.h5", "r.csv", f"{option}={value}")
    assert caught.value.code == 2 and f"{option}: {value!r} is not a {what}" in capsys.readouterr().err
