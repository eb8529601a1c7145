"""The files of scores: read as they were written, and refused by name where they do not fit together."""

import json
import os
from dataclasses import fields
from errno import ENOSPC
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest

from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.scores import FILES, read_scores, read_table_of_scores, write_scores
from earwitness.metrics.statistics import Median, mean_of

VALUES = np.array([0.1, np.nan, 1 / 3])
STATISTICS = {"miou": mean_of(VALUES), "t2a_medr": Median(np.array([2.0, 1.0, 7.5, 3.0]), np.array([0, 2, 2, 1]), 3)}
IDS = ["0012.wav", "NA", 'Café, "spät".wav']


@pytest.fixture
def folder(tmp_path):
    evaluation = SimpleNamespace(
        metrics={"miou": {"value": 0.2}, "psds": {"value": None, "reason": "no compiler"}},
        by_clip={"miou": VALUES},
        statistics=STATISTICS,
        ids=IDS,
    )
    content = {"provenance": {"inputs": {"references": "abc"}}}
    write_scores(tmp_path / "scored", evaluation, {"caption": ["a dog", "", "NaN"]}, content)
    return tmp_path / "scored"


def test_scores_are_read_as_they_were_written(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    scores = read_scores(folder)
    assert scores.ids == IDS and scores.references == "abc"
    assert scores.captions == dict(zip(IDS, ["a dog", "", "NaN"], strict=True))
    assert scores.metrics["psds"] == {"value": None, "reason": "no compiler"}
    np.testing.assert_array_equal(scores.by_clip["miou"], VALUES)
    assert scores.statistics.keys() == STATISTICS.keys()
    for name, statistic in scores.statistics.items():
        assert type(statistic) is type(STATISTICS[name])
        for field in fields(statistic):
            found, expected = getattr(statistic, field.name), getattr(STATISTICS[name], field.name)
            np.testing.assert_array_equal(found, expected)
            assert type(found) is type(expected)


def test_the_same_scores_are_the_same_bytes(folder, tmp_path):
    first = [(folder / name).read_bytes() for name in FILES]
    scores = read_scores(folder)
    write_scores(folder, scores, {"caption": list(scores.captions.values())}, json.loads(first[2]))
    assert [(folder / name).read_bytes() for name in FILES] == first


@pytest.mark.parametrize("number", range(len(FILES)))
def test_a_full_disk_leaves_the_scores_before_or_none(folder, tmp_path, monkeypatch, number):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    scores, replace, calls = read_scores(folder), os.replace, []

    def full(source, target):
        calls.append(target)
        if len(calls) == number + 1:
            raise OSError(ENOSPC, "No space left on device")
        replace(source, target)

    for place, expected in ((folder, before), (tmp_path / "other", {})):
        calls.clear()
        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(EarwitnessError, match=f"disk is full.*{FILES[number]}"):
            write_scores(place, scores, {"caption": ["another", "one", "now"]})
        monkeypatch.undo()
        assert {path.name: path.read_bytes() for path in place.iterdir()} == expected


def test_without_statistics_the_means_remain(folder):
    (folder / "statistics.h5").unlink()
    assert read_scores(folder).statistics.keys() == {"miou"}
    other = read_scores(folder, ["cider_d"])  # the metrics of another kind of prediction
    assert other.ids == IDS and not other.by_clip and not other.statistics and other.metrics["miou"] == {"value": 0.2}


def test_files_that_do_not_belong_together_are_refused(folder):
    table = pd.read_csv(folder / "scores.csv", keep_default_na=False)
    table[::-1].to_csv(folder / "scores.csv", index=False)
    with pytest.raises(MismatchError, match=r"scores\.csv in .*metrics\.json"):
        read_scores(folder)
    forget_digests(folder)
    with pytest.raises(MismatchError, match=r"statistics\.h5.*scores\.csv.*clips"):
        read_scores(folder)


def forget_digests(folder):
    content = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(content | {"files": {}}), encoding="utf-8")


def test_damaged_files_are_named(folder):
    with h5py.File(folder / "statistics.h5", "a") as file:
        file.attrs["provenance"] = json.dumps({"schema": 99, "made_by": "scores"})
    forget_digests(folder)
    with pytest.raises(MismatchError, match=r"statistics\.h5.*schema.*99"):
        read_scores(folder)
    with h5py.File(folder / "statistics.h5", "a") as file:
        file.attrs["provenance"] = json.dumps({"schema": 1, "made_by": "scores"})
        file["miou"].attrs["formula"] = "unheard of"
    with pytest.raises(EarwitnessError, match=r"statistics\.h5.*'unheard of'"):
        read_scores(folder)
    (folder / "statistics.h5").write_bytes(b"not HDF5")
    with pytest.raises(EarwitnessError, match=r"statistics\.h5"):
        read_scores(folder)
    for content in ("[]", '{"metrics": []}'):
        (folder / "metrics.json").write_text(content, encoding="utf-8")
        with pytest.raises(EarwitnessError, match=r"metrics\.json.*scores"):
            read_scores(folder)


def test_a_foreign_table_has_numbers_and_nothing_else(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text(
        "\ufefffile,caption,cider_d,meteor,comment,empty\n007,1,2.5,0.1,3,\n8,2,,0.3,x,\n", encoding="utf-8"
    )
    scores = read_table_of_scores(path)
    assert scores.ids == ["007", "8"] and scores.captions == {"007": "1", "8": "2"}
    assert list(scores.by_clip) == ["cider_d", "meteor"] and list(scores.statistics) == ["cider_d"]
    assert scores.metrics["cider_d"] == {"value": 2.5}
    assert scores.metrics["meteor"]["reason"].startswith("not a mean")
    with pytest.raises(EarwitnessError, match=r"none\.csv"):
        read_table_of_scores(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "name", ["Bleu_4", "BLEU-1", "METEOR", "t2a_medr", "segment_f1", "psds_400", "th_auc", "x_macro"]
)
def test_a_foreign_column_that_is_no_mean_is_not_compared(tmp_path, name):
    path = tmp_path / "theirs.csv"
    path.write_text(f"{name},file,SPIDEr,fer.x\n1,a,2,0\n3,b,4,1\n", encoding="utf-8")
    scores = read_table_of_scores(path)
    assert scores.ids == ["a", "b"] and scores.statistics.keys() == {"SPIDEr", "fer.x"}
    assert scores.metrics[name]["value"] is None


def test_what_a_foreign_table_leaves_open_is_refused(tmp_path):
    path = tmp_path / "theirs.csv"
    path.write_text(",fname,cider_d\n0,b,1\n1,a,NA\n", encoding="utf-8")  # an index that pandas wrote
    scores = read_table_of_scores(path)
    assert scores.ids == ["b", "a"] and np.isnan(scores.by_clip["cider_d"][1])
    path.write_text(",name,cider_d\n0,b,1\n1,a,2\n", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"theirs\.csv.*column.*clip_id"):
        read_table_of_scores(path)
    path.write_text("id,cider_d\na,1\nb,2\nc,inf\nd,oops\ne,3\n", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"theirs\.csv.*\n  - row 4, cider_d: 'inf'\n  - row 5, cider_d: 'oops'$"):
        read_table_of_scores(path)


def test_results_of_the_earlier_form_are_refused_once_and_others_are_not(tmp_path):
    from earwitness.evaluation.result import refuse_old_results

    for name in ("clotho/one/seed-0", "clotho/one/seed-1", "mini/two/seed-0"):
        path = tmp_path / "results" / name / "captioning" / "metrics.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    refuse_old_results(tmp_path / "results")
    for name in ("clotho/one/seed-0", "clotho/one/seed-1"):
        (tmp_path / "results" / name / "metrics.json").write_text("{}")
    with pytest.raises(EarwitnessError) as caught:
        refuse_old_results(tmp_path / "results")
    assert [line for line in str(caught.value).splitlines() if line.startswith("  - ")] == [
        f"  - {tmp_path / 'results/clotho/one'}"
    ]
