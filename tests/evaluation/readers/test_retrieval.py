"""``earwitness score retrieval``."""

import csv
import json
import zipfile

import h5py
import numpy as np
import pytest

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
    assert content["metrics"]["a2t_r1"]["value"] == pytest.approx(1 / 3)  # ranks 1, 2 (of three that tie), 1.5 (of two)
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


def test_matrices_without_names_take_those_of_the_tables(scored, write, tmp_path):
    path = tmp_path / "s.npy"
    np.save(path, np.array(SCORES)[:, ::-1])
    table, clips = write("r.csv", CLOTHO), write("clips.txt", "c.wav\nb.wav\r\na.wav\n")
    content = scored("retrieval", path, table, "--clips", clips)
    assert values(content) == pytest.approx(T2A)
    assert content["notes"][:2] == [
        "s.npy does not name its captions: they are taken in the order of r.csv",
        "s.npy does not name its clips: they are taken in the order of the clips",
    ]


def test_captions_whose_ids_do_not_tell_need_a_table(score, scored, write):
    path = write("s.csv", as_csv(captions=["u", "v", "w", "x"]))
    code, _, err = score("retrieval", path)
    assert code == 1 and err.count("which is not among the clips; captions are called {clip}#1") == 4
    rows = [("u", "a.wav"), ("v", "a.wav"), ("w", "b.wav"), ("x", "c.wav"), ("y", "c.wav")]
    table = write("captions.csv", "caption_id,clip_id\n" + "\n".join(map(",".join, rows)))
    code, _, err = score("retrieval", path, table)
    assert code == 1 and err.splitlines()[1:] == [
        "  - captions.csv, row 6: the caption 'y' has no row in s.csv",
        "Captions that are not to be scored are left out, and counted, by --subset.",
    ]
    content = scored("retrieval", path, table, "--subset")
    assert values(content) == pytest.approx(T2A) and content["counts"]["captions_not_in_the_scores"] == 1


def test_errors_name_no_option_that_the_command_lacks(score, write, matrix):
    code, _, err = score("retrieval", matrix("csv"), write("r.csv", "sound_name,caption\na.wav,a dog\n"))
    assert code == 1 and "r.csv: no column is called as those of clips usually are; such as 'clip_id'" in err
    assert "--" not in err


def test_clips_that_are_spelt_otherwise_are_hinted_at_and_matched_when_asked_for(score, scored, write):
    path = write("s.csv", as_csv(clips=["A", "B", "C"]))
    code, _, err = score("retrieval", path)
    assert code == 1 and "is of clip 'a.wav', which is not among the clips ('A' is: the folder, the ext" in err
    assert err.rstrip().endswith("by --match stem.")
    content = scored("retrieval", path, "--match", "stem")
    assert values(content) == pytest.approx(T2A) and content["counts"]["clips_matched_by_stem"] == 3


@pytest.mark.parametrize(("ties", "r5"), [("average", 0.0), ("benchmark", 1.0)])
def test_ties_are_an_option(scored, write, ties, r5):
    clips = [f"c{number}" for number in range(10)]  # all alike: each rank is 5.5, or 4.5 from 0
    path = write("s.csv", as_csv([[0.5] * 10] * 10, [f"{clip}#1" for clip in clips], clips))
    assert scored("retrieval", path, "--ties", ties)["metrics"]["t2a_r5"]["value"] == r5


def test_a_table_of_relevant_clips(scored, write, matrix):
    table = write("rel.csv", "query,clip_id\na.wav#1,a.wav\na.wav#1,b.wav\na.wav#2,b.wav\nb.wav#1,b.wav\nc.wav#1,\n")
    content = scored("retrieval", matrix("csv"), "--relevant", table)
    # Ranks of the relevant ones: 1 and 2; 1; 1; the last query has none.
    assert content["metrics"]["t2a_map16"]["value"] == 1 and content["counts"]["t2a_queries_skipped"] == 1
    by_json = write("rel.json", {"a.wav#1": ["c.wav"], "a.wav#2": ["c.wav"], "b.wav#1": ["c.wav"], "c.wav#1": []})
    content = scored("retrieval", matrix("csv"), "--relevant", by_json)
    assert content["metrics"]["t2a_map10"]["value"] == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)


def test_relevant_clips_of_queries_that_are_not_scored_are_refused(score, write, matrix):
    table = write("rel.csv", "query,clip_id\nz,a.wav\n")
    code, _, err = score("retrieval", matrix("csv"), "--relevant", table)
    assert code == 1 and "rel.csv, row 2: the query 'z' is not among those scored" in err and "--subset" in err


def test_captions_that_the_table_of_relevant_clips_lacks_are_told_by_text_and_row(score, write, matrix):
    table = write("rel.csv", "caption,clip_id\na dog,a.wav\nrain,b.wav\n")
    code, _, err = score("retrieval", matrix("csv"), write("r.csv", CLOTHO), "--relevant", table)
    assert code == 1 and err.splitlines() == [
        "These files cannot be scored:",
        "  - r.csv, row 2: the caption 'barks, loud' is not in rel.csv",
        "  - r.csv, row 4: the caption 'wind' is not in rel.csv",
        "A row without a clip, in json an empty list, says that nothing is relevant to a query.",
    ]
    ids = write("rel.csv", "query,clip_id\na.wav#1,a.wav\na.wav#2,a.wav\nb.wav#1,\n")
    code, _, err = score("retrieval", matrix("csv"), "--relevant", ids)
    assert code == 1 and "rel.csv: the caption 'c.wav#1' is not in it" in err


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "s.csv",
            as_csv([[1, 2, "x"], *SCORES[1:]]),
            "s.csv, row 2: 'a.wav#1' has scores that are no numbers: 'x' for",
        ),
        ("s.csv", "caption\nx\n", "s.csv: is neither a matrix (captions in rows, clips in columns) nor ranked lists"),
        ("s.csv", as_csv([[1, 2, "nan"], *SCORES[1:]]), "caption 'a.wav#1' has the score NaN for 1 of 3 clips"),
        ("s.json", {"similarity": [[1, 2], [3]]}, "s.json: its scores are not rows of equally many numbers"),
        ("s.json", {"similarity": [[1, "x"]]}, "s.json, scores 1: 'x' among them are no numbers"),
        ("s.json", [{"a": 1}], "s.json: holds neither a matrix"),
        ("s.xyz", "", "s.xyz: is of a kind that is not read; known are .csv, .tsv"),
        ("s.h5", "", "s.h5: cannot be read as HDF5"),
        ("s.npz", "x", "s.npz: is no file of NumPy's kind .npz, or holds Python objects, which are not read"),
        ("s.npz", "", "s.npz: cannot be read as NumPy's .npz"),
        ("s.npy", "", "s.npy: cannot be read as NumPy's .npy"),
    ],
)
def test_matrices_that_cannot_be_scored(score, write, name, content, told):
    code, out, err = score("retrieval", write(name, content))
    assert code == 1 and out == "" and told in err and "Traceback" not in err


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    at = content.index(b"\x93NUMPY") + 200
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(("damage", "told"), [(cut, "File is not a zip file"), (flip, "Bad CRC-32 for file")])
def test_damaged_archives_are_told(score, matrix, damage, told):
    path = matrix("npz")
    path.write_bytes(damage(path.read_bytes()))
    code, out, err = score("retrieval", path)
    assert code == 1 and out == "" and err.count("s.npz") == 1
    assert f"s.npz: cannot be read as NumPy's .npz ({told}" in err and "is it cut off, or another kind?" in err


def test_damaged_compression_is_told(score, tmp_path):
    path = tmp_path / "s.npz"
    np.savez_compressed(path, similarity=np.random.default_rng(0).random((50, 50)))
    content = path.read_bytes()
    path.write_bytes(content[:60] + bytes(40) + content[100:])
    code, out, err = score("retrieval", path)
    assert code == 1 and out == "" and "s.npz: cannot be read as NumPy's .npz (" in err


def test_archives_hold_arrays_only(score, matrix):
    path = matrix("npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("similarity", "1 2")
        archive.writestr("clip_ids", "a b")
    code, _, err = score("retrieval", path)
    assert code == 1 and "s.npz: no data set is called similarity" in err


def test_a_matrix_that_is_damaged_within_is_told(score, tmp_path):
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
    assert code == 1 and out == "" and err.startswith("s.h5: is damaged, it cannot be read to its end (")


def test_python_objects_are_not_read(score, tmp_path):
    np.save(tmp_path / "s.npy", np.array([{}], dtype=object), allow_pickle=True)
    code, _, err = score("retrieval", tmp_path / "s.npy")
    assert code == 1 and "s.npy: holds Python objects, which are not read" in err


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ({"clip_ids": CLIPS}, "s.h5 does not name its captions (caption_ids)"),
        ({"caption_ids": CAPTIONS}, "s.h5 does not name its clips (clip_ids)"),
        (
            {"caption_ids": CLIPS, "clip_ids": CAPTIONS},
            "the shape (4, 3) (captions, clips), but 3 captions are named for 4",
        ),
        (
            {"caption_ids": CAPTIONS, "clip_ids": ["a.wav", "", "c.wav"]},
            "s.h5: number 2 of clip_ids is '', which is no id",
        ),
    ],
)
def test_names_that_do_not_fit(score, tmp_path, ids, told):
    code, _, err = score("retrieval", hdf(tmp_path / "s.h5", **ids))
    assert code == 1 and told in err


DCASE = 'caption,fname_1,fname_2\na dog,a.wav,b.wav\n"barks,  loud",b.wav,a.wav\nrain,c.wav,a.wav\nwind,c.wav,a.wav\n'


def test_a_submission_is_matched_by_the_captions_texts(scored, write):
    content = scored("retrieval", write("s.csv", DCASE), write("r.csv", CLOTHO))
    metrics = content["metrics"]
    assert metrics["t2a_r1"]["value"] == 0.5  # the second is found at rank 2, the third is not
    assert metrics["t2a_r5"]["reason"] == "needs the 5 best; only the 2 best of each query are known"
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
        assert content["notes"] == [
            "2 captions have a text that others have too: each is a query of its own, with the list of its text"
        ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (DCASE + "snow,a.wav,b.wav\n", "s.csv, row 6: the query 'snow' is no caption of r.csv"),
        (DCASE.replace("rain", "Rain."), "'Rain.' is no caption of r.csv (row 3 has it but for letter case and punct"),
        (DCASE.replace("rain,c.wav,a.wav\n", ""), "r.csv, row 3: the caption 'rain' has no ranked list in s.csv"),
        (DCASE + "rain,b.wav,a.wav\n", "s.csv, rows 4 and 6: 2 ranked lists for the query 'rain'"),
        (DCASE.replace("rain,c.wav,", "rain,,"), "s.csv, row 4: the clip of rank 1 is missing"),
        (DCASE.replace("fname_2", "fname_3"), "s.csv: the ranks go up to 'fname_3', but 2 is missing"),
        (DCASE.replace("fname_2", "FNAME 1"), "s.csv: the columns 'fname_1' and 'FNAME 1' have one rank"),
        (DCASE.replace("caption", "words"), "s.csv: no column names the query"),
        (DCASE.replace("b.wav", "B.mp3"), "clip 'B.mp3' is no caption's clip ('b.wav' is: the folder, the extension"),
        (DCASE.replace("b.wav", "a.wav"), "s.csv, row 2: clip 'a.wav' is ranked more than once for the query 'a dog'"),
    ],
)
def test_submissions_that_cannot_be_scored(score, write, content, told):
    code, out, err = score("retrieval", write("s.csv", content), write("r.csv", CLOTHO))
    assert code == 1 and out == "" and told in err


def test_lists_of_other_lengths_are_told_by_their_queries(score, write):
    lists = {
        "a dog": ["a.wav", "b.wav"],
        "barks, loud": ["a.wav"],
        "rain": ["a.wav", "b.wav"],
        "wind": ["c.wav", "a.wav"],
    }
    code, _, err = score("retrieval", write("s.json", lists), write("r.csv", CLOTHO))
    assert code == 1 and "'barks, loud' has ranked clips up to rank 1, most others up to 2" in err and "#" not in err


def test_texts_without_a_table_and_ties_without_scores_are_refused(score, write):
    path = write("s.csv", DCASE)
    assert "do not tell which clip they are of" in score("retrieval", path)[2]
    assert "--ties is not for them" in score("retrieval", path, write("r.csv", CLOTHO), "--ties", "benchmark")[2]


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
