"""``earwitness score retrieval``."""

import csv
import json
import zipfile

import h5py
import numpy as np
import pytest

from earwitness.evaluation.readers.retrieval import RetrievalFiles
from earwitness.evaluation.readers.retrieval import score as score_files
from earwitness.evaluation.scores import read_scores

CLIPS = ["a.wav", "b.wav", "c.wav"]
CAPTIONS = ["a.wav#1", "a.wav#2", "b.wav#1", "c.wav#1"]
SCORES = [[3, 2, 1], [2, 3, 1], [1, 3, 2], [1, 3, 2]]  # ranks of the own clips: 1, 2, 1, 2
T2A = {"t2a_r1": 0.5, "t2a_r5": 1, "t2a_medr": 1.5, "t2a_meanr": 1.5, "t2a_map10": 0.75}
CLOTHO = 'file_name,caption_1,caption_2\na.wav,a dog,"barks, loud"\nb.wav,rain,\nc.wav,wind,\n'


def values(content):
    return {name: content["metrics"][name]["value"] for name in T2A}


def as_csv(rows=SCORES, captions=CAPTIONS, clips=CLIPS, by=","):
    lines = [["caption_id", *clips], *([name, *map(str, row)] for name, row in zip(captions, rows, strict=True))]
    return "\r\n".join(by.join(line) for line in lines)


def hdf(path, scores=SCORES, **ids):
    with h5py.File(path, "w") as file:
        file["similarity"] = np.array(scores, dtype=np.float32)
        for name, names in ids.items():
            file.create_dataset(name, data=names, dtype=h5py.string_dtype())
    return path


@pytest.fixture
def matrix(tmp_path, write):
    """The same matrix as a file of each kind."""

    def matrix(kind):
        path = tmp_path / f"s.{kind}"
        match kind:
            case "h5":
                return hdf(path, caption_ids=CAPTIONS, clip_ids=CLIPS)
            case "npz":
                np.savez(path, similarity=np.array(SCORES), caption_ids=np.array(CAPTIONS), clip_ids=np.array(CLIPS))
            case "csv":
                write(path.name, as_csv())
            case "tsv":
                write(path.name, "\ufeff" + as_csv(by="\t"))
            case "json":
                write(path.name, {"similarity": SCORES, "caption_ids": CAPTIONS, "clip_ids": CLIPS})
        return path

    return matrix


@pytest.mark.parametrize("kind", ["h5", "npz", "csv", "tsv", "json"])
def test_matrices_of_every_kind(scored, matrix, kind):
    content = scored("retrieval", matrix(kind))
    assert values(content) == pytest.approx(T2A)
    assert content["metrics"]["a2t_r1"]["value"] == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)  # one, three and two tie
    assert content["metrics"]["a2t_meanr"]["value"] == pytest.approx(1.5)
    counts = {"clips": 3, "t2a_queries": 4, "a2t_queries": 3, "t2a_pool": 3, "a2t_pool": 4}
    assert content["counts"] == counts


def test_the_files_hold_the_clips_means(scored, matrix, tmp_path):
    content = scored("retrieval", matrix("h5"), "--out", tmp_path / "out")
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {name: written[name] for name in content} == content
    back = read_scores(tmp_path / "out")
    assert back.ids == CLIPS and list(back.by_clip["t2a_r1"]) == [0.5, 1, 0]
    assert {"t2a_medr", "t2a_gmean", "a2t_map10"} <= back.statistics.keys()


def test_python_and_the_command_line_give_the_same(scored, matrix, write):
    found = score_files(RetrievalFiles(matrix("h5"), write("r.csv", CLOTHO), ties="benchmark"))
    content = scored("retrieval", matrix("h5"), write("r.csv", CLOTHO), "--ties", "benchmark")
    assert {name: entry["value"] for name, entry in content["metrics"].items()} == {
        name: entry["value"] for name, entry in found.evaluation.metrics.items()
    }
    assert content["counts"] == found.counts and content["provenance"]["settings"] == found.settings


def test_matrices_without_names_take_those_of_the_tables(scored, write, tmp_path):
    path = tmp_path / "s.npy"
    np.save(path, np.array(SCORES)[:, ::-1])
    table, clips = write("r.csv", CLOTHO), write("clips.txt", "c.wav\nb.wav\r\na.wav\n")
    content = scored("retrieval", path, table, "--clips", clips)
    assert values(content) == pytest.approx(T2A)
    captions, columns = content["notes"][:2]
    assert captions.startswith("s.npy does not name its captions") and captions.endswith("order of r.csv")
    assert columns.startswith("s.npy does not name its clips") and columns.endswith("order of the clips")


def test_captions_whose_ids_do_not_tell_need_a_table(score, scored, write):
    path = write("s.csv", as_csv(captions=["u", "v", "w", "x"]))
    code, _, err = score("retrieval", path)
    assert code == 1 and err.count("not among the clips") == err.count("{clip}#1") == 4
    rows = [("u", "a.wav"), ("v", "a.wav"), ("w", "b.wav"), ("x", "c.wav"), ("y", "c.wav")]
    table = write("captions.csv", "caption_id,clip_id\n" + "\n".join(map(",".join, rows)))
    code, _, err = score("retrieval", path, table)
    _, offender, advice = err.splitlines()
    assert code == 1 and "captions.csv, row 6: " in offender and "'y'" in offender and "s.csv" in offender
    assert "--subset" in advice
    content = scored("retrieval", path, table, "--subset")
    assert values(content) == pytest.approx(T2A) and content["counts"]["captions_not_in_the_scores"] == 1


def test_errors_name_no_option_that_the_command_lacks(score, write, matrix):
    code, _, err = score("retrieval", matrix("csv"), write("r.csv", "sound_name,caption\na.wav,a dog\n"))
    assert code == 1 and "r.csv: " in err and "clips, such as 'clip_id'" in err and "--" not in err


def test_clips_that_are_spelt_otherwise_are_hinted_at_and_matched_when_asked_for(score, scored, write):
    path = write("s.csv", as_csv(clips=["A", "B", "C"]))
    code, _, err = score("retrieval", path)
    assert code == 1 and "clip 'a.wav', which is not among the clips (did you mean 'A'?)" in err
    assert "--match stem" in err.splitlines()[-1]
    content = scored("retrieval", path, "--match", "stem")
    assert values(content) == pytest.approx(T2A) and content["counts"]["clips_matched_by_stem"] == 3


@pytest.mark.parametrize(("ties", "r5"), [("expected", 0.5), ("benchmark", 1.0)])
def test_ties_are_an_option(scored, write, ties, r5):
    clips = [f"c{number}" for number in range(10)]  # all alike: each rank is 5.5, or 4.5 from 0
    path = write("s.csv", as_csv([[0.5] * 10] * 10, [f"{clip}#1" for clip in clips], clips))
    assert scored("retrieval", path, "--ties", ties)["metrics"]["t2a_r5"]["value"] == r5


def test_a_clip_with_the_same_caption_twice_keeps_its_rank(scored, write, tmp_path):
    texts = ["a toilet flushes", "a toilet flushes", "a dog barks", "a dog growls"]
    rows = zip(["x", "x", "y", "y"], texts, strict=True)
    table = write("t.csv", "youtube_id,caption\n" + "\n".join(map(",".join, rows)))
    path = tmp_path / "s.npy"
    np.save(path, np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.1, 0.7]]))
    assert scored("retrieval", path, table)["metrics"]["a2t_r1"]["value"] == 1
    content = scored("retrieval", path, table, "--ties", "benchmark")
    assert content["metrics"]["a2t_r1"]["value"] == 0.5 and any(
        "a2t_r1 1, not 0.5" in note for note in content["notes"]
    )


def test_complete_rankings_have_every_rank(scored, write):
    clips = [f"c{number}" for number in range(12)]
    lists = {f"{clip}#1": clips[number:] + clips[:number] for number, clip in enumerate(clips)}
    lists["c0#1"] = clips[::-1]
    content = scored("retrieval", write("r.json", lists), "--clips", write("clips.txt", "\n".join(clips)))
    found = {name: content["metrics"][f"t2a_{name}"]["value"] for name in ("medr", "meanr", "r50")}
    assert found == {"medr": 1, "meanr": pytest.approx(23 / 12), "r50": 1}
    assert content["metrics"]["a2t_r1"]["value"] is None


def test_lists_that_seem_complete_are_complete_with_all_clips_named(scored, write):
    complete = {"a.wav#1": ["a.wav", "b.wav"], "b.wav#1": ["a.wav", "b.wav"]}
    cut = {"a.wav#1": ["a.wav"], "b.wav#1": ["a.wav"]}
    clips = "a.wav\nb.wav"
    for lists, options, hinted in ((complete, (), 1), (complete, ("--clips", write("c.txt", clips)), 0), (cut, (), 0)):
        content = scored("retrieval", write("r.json", lists), *options)
        assert sum("--clips" in note for note in content["notes"]) == hinted
        assert (content["metrics"]["t2a_medr"]["value"] is None) == (not options)


def test_a_table_of_relevant_clips(scored, write, matrix):
    table = write("rel.csv", "query,clip_id\na.wav#1,a.wav\na.wav#1,b.wav\na.wav#2,b.wav\nb.wav#1,b.wav\nc.wav#1,\n")
    content = scored("retrieval", matrix("csv"), "--relevant", table)
    # Ranks of the relevant ones: 1 and 2; 1; 1; the last query has none.
    assert content["metrics"]["t2a_map16"]["value"] == 1 and content["counts"]["t2a_queries_skipped"] == 1
    by_json = write("rel.json", {"a.wav#1": ["c.wav"], "a.wav#2": ["c.wav"], "b.wav#1": ["c.wav"], "c.wav#1": []})
    content = scored("retrieval", matrix("csv"), "--relevant", by_json)
    assert content["metrics"]["t2a_map10"]["value"] == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)


def test_lists_of_relevant_clips_as_dcase_has_them(score, scored, write, matrix):
    texts = ["a dog", '"barks, loud"', "rain"]
    lists = [["a.wav", "b.wav"], ["b.wav"], ["b.wav"]]
    rows = "".join(f'{text},"{line}"\n' for text, line in zip(texts, lists, strict=True))
    table, captions = write("rel.csv", f"query,audio_filenames\n{rows}"), write("r.csv", CLOTHO)
    code, _, err = score("retrieval", matrix("h5"), captions, "--relevant", table)
    assert code == 1 and "r.csv, row 4: the caption 'wind'" in err and "--subset" in err
    content = scored("retrieval", matrix("h5"), captions, "--relevant", table, "--subset")
    counts = {"t2a_queries": 3, "a2t_queries": 2, "a2t_pool": 3, "captions_not_in_relevant": 1}
    assert counts.items() <= content["counts"].items()
    # Ranks of the relevant clips: 1 and 2, 1, 1. Of the captions of a.wav: 1; of b.wav: 1 and 2 tie, and 3.
    assert content["metrics"]["t2a_map10"]["value"] == content["metrics"]["t2a_map16"]["value"] == 1
    assert content["metrics"]["a2t_r1"]["value"] == content["metrics"]["a2t_map16"]["value"] == 1
    assert any(note.startswith("1 captions lack the clip") for note in content["notes"])
    lists = write("s.csv", 'caption,fname_1,fname_2\na dog,c.wav,b.wav\n"barks, loud",b.wav,a.wav\nrain,b.wav,a.wav\n')
    clips = write("clips.txt", "\n".join(CLIPS))
    content = scored("retrieval", lists, captions, "--clips", clips, "--relevant", table, "--subset")
    assert content["metrics"]["t2a_r1"]["value"] == pytest.approx(2 / 3) and content["counts"]["t2a_queries"] == 3


def test_relevant_clips_of_queries_that_are_not_scored_are_refused(score, write, matrix):
    table = write("rel.csv", "query,clip_id\nz,a.wav\n")
    code, _, err = score("retrieval", matrix("csv"), "--relevant", table)
    assert code == 1 and "rel.csv, row 2: the query 'z' is not" in err and "--subset" in err


@pytest.mark.parametrize("subset", [[], ["--subset"]])
def test_queries_that_are_texts_need_the_captions(score, write, matrix, subset):
    table = write("rel.csv", "query,audio_filenames\n\"barks, loud\",['a.wav']\na dog,['a.wav']\n")
    code, _, err = score("retrieval", matrix("h5"), "--relevant", table, *subset)
    assert code == 1 and "rel.csv, row 2: the query 'barks, loud' is a text" in err and "CAPTIONS" in err
    assert "row 3" not in err


def test_captions_that_the_table_of_relevant_clips_lacks_are_named_by_text_and_row(score, write, matrix):
    table = write("rel.csv", "caption,clip_id\na dog,a.wav\nrain,b.wav\n")
    code, _, err = score("retrieval", matrix("csv"), write("r.csv", CLOTHO), "--relevant", table)
    _, first, second, advice = err.splitlines()
    assert code == 1 and "r.csv, row 2: the caption 'barks, loud'" in first and "rel.csv" in first
    assert "r.csv, row 4: the caption 'wind'" in second and "nothing is relevant" in advice
    ids = write("rel.csv", "query,clip_id\na.wav#1,a.wav\na.wav#2,a.wav\nb.wav#1,\n")
    code, _, err = score("retrieval", matrix("csv"), "--relevant", ids)
    assert code == 1 and "rel.csv: the caption 'c.wav#1'" in err


@pytest.mark.parametrize(
    ("name", "content", "facts"),
    [
        ("s.csv", as_csv([[1, 2, "x"], *SCORES[1:]]), ["s.csv, row 2: ", "'a.wav#1'", "'x' for 'c.wav'"]),
        ("s.csv", "caption\nx\n", ["s.csv: ", "neither a matrix", "nor ranked lists", "'caption'"]),
        ("s.csv", as_csv([[1, 2, "nan"], *SCORES[1:]]), ["caption 'a.wav#1'", "NaN for 1 of 3"]),
        ("s.json", {"similarity": [[1, 2], [3]]}, ["s.json: ", "length"]),
        ("s.json", {"similarity": [[1, "x"]]}, ["s.json, scores 1: ", "'x'"]),
        ("s.json", [{"a": 1}], ["s.json: ", "neither a matrix"]),
        ("s.xyz", "", ["s.xyz: ", "known are .csv, .tsv"]),
        ("s.h5", "", ["s.h5: ", "HDF5"]),
        ("s.npz", "x", ["s.npz: ", "Python objects", "is not NumPy"]),
        ("s.npz", "", ["s.npz: cannot be read", ".npz"]),
        ("s.npy", "", ["s.npy: cannot be read", ".npy"]),
    ],
)
def test_matrices_that_cannot_be_scored(score, write, name, content, facts):
    code, out, err = score("retrieval", write(name, content))
    assert code == 1 and out == "" and all(fact in err for fact in facts) and "Traceback" not in err


@pytest.mark.parametrize("kind", [".npz", ".npy"])
def test_arrays_are_read_whatever_their_extension(scored, matrix, tmp_path, kind):
    path = tmp_path / f"t{kind}"
    path.write_bytes(matrix("npz").read_bytes())
    assert values(scored("retrieval", path)) == pytest.approx(T2A)


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    at = content.index(b"\x93NUMPY") + 200
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(("damage", "reason"), [(cut, "File is not a zip file"), (flip, "Bad CRC-32 for file")])
def test_damaged_archives_are_refused(score, matrix, damage, reason):
    path = matrix("npz")
    path.write_bytes(damage(path.read_bytes()))
    code, out, err = score("retrieval", path)
    assert code == 1 and out == "" and err.count("s.npz") == 1
    assert f".npz ({reason}" in err and "cut off" in err


def test_damaged_compression_is_refused(score, tmp_path):
    path = tmp_path / "s.npz"
    np.savez_compressed(path, similarity=np.random.default_rng(0).random((50, 50)))
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(40) + content[100:])
    code, out, err = score("retrieval", path)
    assert code == 1 and out == "" and "s.npz: cannot be read" in err


def test_archives_hold_arrays_only(score, matrix):
    path = matrix("npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("similarity", "1 2")
        archive.writestr("clip_ids", "a b")
    code, _, err = score("retrieval", path)
    assert code == 1 and "s.npz: " in err and "similarity" in err


def test_a_matrix_that_is_damaged_within_is_refused(score, tmp_path):
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        scores = np.random.default_rng(0).random((20, 20))
        place = file.create_dataset("similarity", data=scores, chunks=(10, 20), compression="gzip").id
        place = place.get_chunk_info(1).byte_offset
        file["clip_ids"] = [f"{n}" for n in range(20)]
        file["caption_ids"] = [f"{n}#1" for n in range(20)]
    content = path.read_bytes()
    path.write_bytes(content[:place] + bytes(20) + content[place + 20 :])
    code, out, err = score("retrieval", path)
    assert code == 1 and out == "" and err.startswith("s.h5: is damaged")


def test_python_objects_are_not_read(score, tmp_path):
    np.save(tmp_path / "s.npy", np.array([{}], dtype=object), allow_pickle=True)
    code, _, err = score("retrieval", tmp_path / "s.npy")
    assert code == 1 and "s.npy: holds Python objects" in err


@pytest.mark.parametrize(
    ("ids", "facts"),
    [
        ({"clip_ids": CLIPS}, ["s.h5 ", "captions (caption_ids)"]),
        ({"caption_ids": CAPTIONS}, ["s.h5 ", "clips (clip_ids)"]),
        ({"caption_ids": CLIPS, "clip_ids": CAPTIONS}, ["s.h5: ", "(4, 3) (captions, clips)", "3 captions, not 4"]),
        ({"caption_ids": CAPTIONS, "clip_ids": ["a.wav", "", "c.wav"]}, ["s.h5: number 2 of clip_ids is ''"]),
    ],
)
def test_names_that_do_not_fit(score, tmp_path, ids, facts):
    code, _, err = score("retrieval", hdf(tmp_path / "s.h5", **ids))
    assert code == 1 and all(fact in err for fact in facts)


DCASE = 'caption,fname_1,fname_2\na dog,a.wav,b.wav\n"barks,  loud",b.wav,a.wav\nrain,c.wav,a.wav\nwind,c.wav,a.wav\n'


def test_a_submission_is_matched_by_the_captions_texts(scored, write):
    content = scored("retrieval", write("s.csv", DCASE), write("r.csv", CLOTHO))
    metrics = content["metrics"]
    assert metrics["t2a_r1"]["value"] == 0.5  # the second is found at rank 2, the third is not
    assert "5 best" in metrics["t2a_r5"]["reason"] and "2 best" in metrics["t2a_r5"]["reason"]
    assert metrics["a2t_r1"]["value"] is None
    assert content["counts"] == {"clips": 3, "t2a_queries": 4, "t2a_pool": None}


@pytest.mark.parametrize(
    "content",
    [
        DCASE.replace("caption,", "query,"),
        DCASE.replace("caption,", ","),  # as pandas writes an index
        DCASE.replace("a dog", "a.wav#1").replace("rain", "b.wav#1"),
        "file_name,fname_1,fname_2\na.wav,a.wav,b.wav\na.wav,b.wav,a.wav\nb.wav,c.wav,a.wav\nc.wav,c.wav,a.wav\n",
        DCASE.replace(",", ";").replace("barks;", "barks,").replace("\n", "\r\n"),
    ],
)
def test_queries_are_texts_ids_or_the_clips_they_are_of(scored, write, content):
    found = scored("retrieval", write("s.csv", content), write("r.csv", CLOTHO))
    assert found["metrics"]["t2a_r1"]["value"] == 0.5 and found["counts"]["t2a_queries"] == 4


def test_ranked_lists_whose_queries_tell_their_clip_need_no_table(scored, write):
    lists = {"a.wav#1": ["a.wav", "b.wav"], "a.wav#2": ["b.wav", "c.wav"], "b.wav#1": ["b.wav", "a.wav"]}
    content = scored("retrieval", write("s.json", lists))
    assert content["metrics"]["t2a_r1"]["value"] == pytest.approx(2 / 3)
    by_clip = "file_name,rank_1\na.wav,a.wav\nb.wav,c.wav\n"
    assert scored("retrieval", write("s.csv", by_clip))["metrics"]["t2a_r1"]["value"] == 0.5


def test_a_text_of_two_clips_is_a_query_of_each(scored, write):
    table = write("r.csv", "file_name,caption_1\na.wav,a dog\nb.wav,a dog\n")
    for rows in ("a dog,a.wav\n", "a dog,a.wav\na dog,a.wav\n"):
        content = scored("retrieval", write("s.csv", f"caption,fname_1\n{rows}"), table)
        assert content["metrics"]["t2a_r1"]["value"] == 0.5 and content["counts"]["t2a_queries"] == 2
        assert len(content["notes"]) == 1 and content["notes"][0].startswith("2 captions ")


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (DCASE + "snow,a.wav,b.wav\n", ["s.csv, row 6: the query 'snow'", "r.csv"]),
        (DCASE.replace("rain", "Rain."), ["query 'Rain.'", "r.csv (row 3 ", "punctuation"]),
        (DCASE.replace("rain,c.wav,a.wav\n", ""), ["r.csv, row 3: the caption 'rain'", "s.csv"]),
        (DCASE + "rain,b.wav,a.wav\n", ["s.csv, rows 4 and 6: 2 ranked lists", "'rain'"]),
        (DCASE.replace("rain,c.wav,", "rain,,"), ["s.csv, row 4: ", "rank 1 is missing"]),
        (DCASE.replace("fname_2", "fname_3"), ["s.csv: ", "'fname_3'", "2 is missing"]),
        (DCASE.replace("fname_2", "FNAME 1"), ["s.csv: ", "'fname_1' and 'FNAME 1'", "rank"]),
        (DCASE.replace("caption", "words"), ["s.csv: ", "no column names the query"]),
        (DCASE.replace("b.wav", "B.mp3"), ["clip 'B.mp3'", "(did you mean 'b.wav'?)", "--match stem"]),
        (DCASE.replace("b.wav", "a.wav"), ["s.csv, row 2: clip 'a.wav'", "more than once", "'a dog'"]),
    ],
)
def test_submissions_that_cannot_be_scored(score, write, content, facts):
    code, out, err = score("retrieval", write("s.csv", content), write("r.csv", CLOTHO))
    assert code == 1 and out == "" and all(fact in err for fact in facts)


def test_lists_of_other_lengths_are_reported_by_their_queries(score, write):
    lists = {
        "a dog": ["a.wav", "b.wav"],
        "barks, loud": ["a.wav"],
        "rain": ["a.wav", "b.wav"],
        "wind": ["c.wav", "a.wav"],
    }
    code, _, err = score("retrieval", write("s.json", lists), write("r.csv", CLOTHO))
    assert code == 1 and "'barks, loud'" in err and "rank 1, most others up to 2" in err and "#" not in err


def test_texts_without_a_table_and_ties_without_scores_are_refused(score, write):
    path = write("s.csv", DCASE)
    assert "s.csv, such as 'a dog'" in score("retrieval", path)[2]
    assert "--ties" in score("retrieval", path, write("r.csv", CLOTHO), "--ties", "benchmark")[2]


def test_a_subset_of_the_captions(scored, write):
    path = write("s.csv", DCASE.replace("rain,c.wav,a.wav\n", ""))
    content = scored("retrieval", path, write("r.csv", CLOTHO), "--subset")
    assert content["metrics"]["t2a_r1"]["value"] == pytest.approx(2 / 3)
    assert content["counts"]["captions_left_out"] == 1


def test_a_known_pool_refuses_other_clips(score, scored, write):
    path, table = write("s.csv", DCASE), write("r.csv", CLOTHO)
    content = scored("retrieval", path, table, "--clips", write("clips.csv", "file_name\na.wav\nb.wav\nc.wav\nd.wav\n"))
    assert content["counts"]["t2a_pool"] == 4
    code, _, err = score("retrieval", path, table, "--clips", write("clips.txt", "a.wav\nb.wav\n"))
    assert code == 1 and "clip 'c.wav' is not among the clips" in err


def test_clotho_in_a_submission_of_its_own(shared, scored, write, tmp_path):
    table = shared("captions", "clotho_v2", "clotho_captions_evaluation.csv")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    files = [row["file_name"] for row in rows]
    with (tmp_path / "s.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["caption", *(f"fname_{rank}" for rank in range(1, 11))])
        for place, row in enumerate(rows):  # the caption's own clip has the rank of its number
            others = (files[place + 1 :] + files[:place])[:9]
            for number in range(1, 6):
                writer.writerow([row[f"caption_{number}"], *others[: number - 1], files[place], *others[number - 1 :]])
    content = scored("retrieval", tmp_path / "s.csv", table)
    expected = {"t2a_r1": 0.2, "t2a_r5": 1, "t2a_r10": 1, "t2a_map10": (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5}
    assert {name: content["metrics"][name]["value"] for name in expected} == pytest.approx(expected)
    assert content["counts"]["t2a_queries"] == 5225 and content["metrics"]["t2a_r50"]["value"] is None


def test_a_text_that_other_splits_have_too_is_of_the_clips_that_are_ranked(tmp_path):
    (tmp_path / "top.csv").write_text(
        "caption,fname_1,fname_2\na dog,a.wav,b.wav\nrain,b.wav,a.wav\n", encoding="utf-8"
    )
    rows = "a.wav,a dog\nb.wav,rain\ntrain.wav,a dog\ntrain2.wav,wind\n"
    (tmp_path / "captions.csv").write_text(f"clip_id,text\n{rows}", encoding="utf-8")
    scored = score_files(RetrievalFiles(tmp_path / "top.csv", tmp_path / "captions.csv", subset=True))
    assert scored.counts["t2a_queries"] == 2 and scored.evaluation.metrics["t2a_r1"]["value"] == 1
    assert scored.counts["captions_left_out"] == 2
