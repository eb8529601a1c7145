"""The retrieval section of the comparison page, from similarities made by hand."""

import base64
import json
import re
from html import unescape

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile

from earwitness.corpora.report import REPORT_SCHEMA
from earwitness.corpora.tables import CAPTIONS, CLIPS
from earwitness.errors import MismatchError
from earwitness.evaluation.retrieval import Retrieval
from earwitness.report import retrieval
from earwitness.report.comparison import write_comparison
from earwitness.report.interface import Experiment
from earwitness.report.retrieval import Predicted, RetrievalPage, queries_shown

CLIP_IDS = [f"{number} <ü>.wav" for number in range(6)]
EVIL = "</script><b>a dog</b> & 'rain'"
TEXTS = [EVIL, *(f"caption {number}" for number in range(1, 12))]  # two for each clip
OWNERS = np.repeat(np.arange(6), 2)


def similarities(seed):
    """Captions of the first experiment find their clips but for the last one, whose clip comes last."""
    values = np.random.default_rng(seed).uniform(0, 0.5, (12, 6)).astype("float32")
    if seed == 0:
        values[np.arange(12), OWNERS] = 0.9
        values[11, 5] = -0.25
    return values


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_similarities(folder, values, captions=None):
    folder.mkdir(parents=True, exist_ok=True)
    names = captions or [f"c{number}" for number in range(len(values))]
    with h5py.File(folder / "similarity.h5", "w") as file:
        file["similarity"] = values
        file.create_dataset("caption_ids", data=names, dtype=h5py.string_dtype())
        file.create_dataset("clip_ids", data=CLIP_IDS, dtype=h5py.string_dtype())


def make_results(folder):
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    rows = [(clip_id, "evaluation", clip_id, "name", 1.0, 8000, 1, "") for clip_id in CLIP_IDS]
    pd.DataFrame(rows, columns=CLIPS).to_csv(corpus / "clips.csv", index=False)
    texts = [(f"c{number}", CLIP_IDS[OWNERS[number]], text) for number, text in enumerate(TEXTS)]
    pd.DataFrame(texts, columns=CAPTIONS).to_csv(corpus / "captions.csv", index=False)
    counts = {"listed": 6, "found": 6, "missing": 0, "refused": 0, "seconds": 6.0}
    report = {"schema": REPORT_SCHEMA, "clips": {"evaluation": counts}, "refused": []}
    report |= {"captions": {"evaluation": 12}, "ids_sha256": {"evaluation": "abc"}}
    write_json(corpus / "report.json", report)
    write_json(folder / "baselines" / "retrieval.json", {"baselines": []})
    for number, (name, pooling) in enumerate({"first": "mean", "second": "max"}.items()):
        value = 0.5 + number / 4
        metrics = {"t2a_r10": {"value": value, "ci95": [value - 0.1, value + 0.1], "per_seed": [value]}}
        content = {"schema": 2, "dataset": folder.name, "experiment": name, "seeds": [3], "metrics": metrics}
        content |= {"counts": {"ids_sha256": "abc"}, "kinds": {"retrieval": {"metrics": ["t2a_r10"], "counts": {}}}}
        options = {"features": ["lms", "cnn<14>"], "pooling": pooling}
        content |= {"provenance": {"weights_sha256": ["x"], "checkpoints": {}, "options": options}}
        write_json(folder / name / "metrics.json", content)
        seed = folder / name / "seed-3"
        write_json(seed / "retrieval" / "metrics.json", {"metrics": metrics})
        table = pd.DataFrame({"clip_id": CLIP_IDS, "t2a_r10": value})
        table.to_csv(seed / "retrieval" / "scores.csv", index=False)
        write_similarities(seed, similarities(number))
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    for clip_id in CLIP_IDS:
        soundfile.write(folder / clip_id, 0.1 * generator.standard_normal(8000), 8000)
    return folder


@pytest.fixture
def results(tmp_path):
    return make_results(tmp_path / "some-data")


def made(results, root):
    write_comparison(results, ["first", "second"], root, results / "comparison.html")
    return (results / "comparison.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory, root):
    folder = make_results(tmp_path_factory.mktemp("results") / "some-data")
    text = made(folder, root)
    assert {"similarities-first.svg", "similarities-second.svg"} <= {path.name for path in (folder / "plots").iterdir()}
    return text


def cut(page, what):
    """The articles of a class as texts of HTML."""
    return re.findall(rf'<article class="{what}.*?</article>', page, flags=re.DOTALL)


def test_captions_have_their_best_clips_and_the_own_clip_is_marked(page):
    articles = cut(page, "query")
    assert len(articles) == 12
    assert "caption 11" in articles[-1] and "first: rank 6 of 6" in articles[-1]
    tiles = re.findall(r'class="tile( right)?" href="#retrieval-clip-(\d)" title="(.*?)"', articles[-1])
    best = np.argsort(-similarities(0)[11])
    assert [unescape(name) for _, _, name in tiles] == [CLIP_IDS[clip] for clip in best]
    assert [bool(right) for right, _, _ in tiles] == [False] * 5 + [True]  # the own clip is added to the five
    place = 1 + np.sum(similarities(1)[11] > similarities(1)[11, 5])
    assert f"second: rank {place}<" in articles[-1]
    for article in articles[:-1]:
        tiles = re.findall(r'class="tile( right)?"', article)
        assert tiles == [" right", *[""] * 4]


def test_clips_have_one_player_each_and_their_best_captions(page):
    articles = cut(page, "clip")
    assert len(articles) == page.count("<audio") == page.count("data:image/png;base64,iVBOR")
    last = articles[-1]
    number = int(re.search(r'id="retrieval-clip-(\d)"', last)[1])
    lines = re.findall(r"<li(?: class=\"(right)\")?>(.*?) <span>(-?[\d.]+)</span></li>", last)
    clip = next(place for place, name in enumerate(CLIP_IDS) if f">{name}<" in unescape(last))
    best = np.argsort(-similarities(0)[:, clip], kind="stable")[:5]
    assert [float(value) for _, _, value in lines] == [round(float(similarities(0)[row, clip]), 3) for row in best]
    assert [bool(right) for right, _, _ in lines] == [OWNERS[row] == clip for row in best]
    assert f"clip {number + 1} · 1.0 s<" in last and "12" in last


def test_texts_are_escaped_and_nothing_is_loaded(page):
    assert "<b>" not in page and "<ü>" not in page and page.count("</script>") == page.count("<script")
    assert unescape(page).count(EVIL) > 1
    loaded = re.findall(r'\b(?:src|href)="([^"]*)"', page)
    assert all(address.startswith(("data:", "#")) for address in loaded)


def test_query_box_has_the_similarities_of_all_experiments(page):
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    assert sorted(data["texts"]) == sorted(TEXTS) and data["clips"] == 6
    names = {}
    for article in cut(page, "clip"):
        number = int(re.search(r'id="retrieval-clip-(\d)"', article)[1])
        names[number] = unescape(re.search(r"<h3.*?>(.*?)<small>", article)[1])
    for number, one in enumerate(data["experiments"]):
        values = np.frombuffer(base64.b64decode(one["values"]), "<u2").reshape(12, 6) * one["step"] + one["low"]
        rows = [TEXTS.index(text) for text in data["texts"]]
        columns = [CLIP_IDS.index(names[clip]) for clip in range(6)]
        np.testing.assert_allclose(values, similarities(number)[rows][:, columns], atol=1e-4)
        assert [[names[clip] for clip in right] for right in data["right"]] == [[CLIP_IDS[OWNERS[row]]] for row in rows]


def test_grid_has_features_by_poolings(page):
    table = page.split("<h2>Features and poolings</h2>")[1].split("</table>")[0]
    assert re.findall(r'<th scope="(?:col|row)">(.*?)</th>', table)[1:] == ["mean", "max", "lms + cnn&lt;14&gt;"]
    cells = re.findall(r"<td>\s*(.*?)\s*</td>", table, flags=re.DOTALL)
    assert cells[0].startswith("0.500<small>0.400–0.600") and cells[1].startswith("<strong>0.750</strong>")


def test_grid_is_left_out_for_one_pair_and_names_experiments_that_share_one():
    def experiment(name, features, pooling, value):
        options = {"features": features, "pooling": pooling}
        metrics = {"t2a_r10": {"value": value, "ci95": None}}
        return Experiment(name, None, {"metrics": metrics, "provenance": {"options": options}})

    page, first = RetrievalPage(Retrieval()), experiment("a", ["x"], "max", 0.5)
    other, absent = experiment("b", ["x"], "max", 0.75), experiment("c", "x", "mean", 0.5)
    assert retrieval.grid(page, [first, other, absent]) is None  # c's features are no list
    found = retrieval.grid(page, [first, other, experiment("d", ["y"], "max", 0.75)])
    assert list(found["rows"]) == ["x", "y"] and found["columns"] == ["max"] and found["named"]
    assert [(one["experiment"], one["best"]) for one in found["rows"]["x"][0]] == [("a", False), ("b", True)]


def test_all_relevant_clips_of_a_table_are_marked_and_the_table_is_said(results, root):
    pairs = {"c0": [0, 3], "c5": [4], "c11": [5, 1], "c7": []}
    rows = [(name, CLIP_IDS[clip] if clip != "" else "") for name, line in pairs.items() for clip in line or [""]]
    pd.DataFrame(rows, columns=["caption_id", "clip_id"]).to_csv(results / "corpus/relevant.csv", index=False)
    path = results / "first/metrics.json"
    content = json.loads(path.read_text())
    content["kinds"]["retrieval"]["counts"] = {"relevant_pairs": 5}
    write_json(path, content)
    text = made(results, root)
    assert "5 pairs" in text.split("first<small>")[1].split("</th>")[0]
    articles = {
        int(caption): article for article in cut(text, "query") for caption in re.findall(r"caption (\d+)<", article)
    }
    articles[0] = next(article for article in cut(text, "query") if "a dog" in article)
    assert sorted(articles) == [0, 5, 11]  # captions that the table lacks, or has no clip for, are not shown
    values = similarities(0)
    for caption, article in articles.items():
        tiles = re.findall(r'class="tile( right)?" href="#retrieval-clip-\d" title="(.*?)"', article)
        marked = [CLIP_IDS.index(unescape(name)) for right, name in tiles if right]
        best = np.argsort(-values[caption])[:5].tolist()
        expected = [clip for clip in best if clip in pairs[f"c{caption}"]] or pairs[f"c{caption}"]
        assert marked == expected
        rank = 1 + min(int((values[caption] > values[caption, clip]).sum()) for clip in pairs[f"c{caption}"])
        assert f"first: rank {rank} of 6" in article
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text)[1])
    assert len(data["right"][data["texts"].index(EVIL)]) == 2


def test_same_inputs_give_the_same_bytes_of_a_bounded_size(page, results, root):
    again = made(results, root)
    assert again == page and len(again) < 400_000


def test_clips_to_play_and_bytes_of_the_box_are_bounded(tmp_path, monkeypatch):
    owners = np.arange(300) // 3
    values = np.random.default_rng(1).standard_normal((300, 100)).astype("float32")
    write_similarities(tmp_path, values)
    predicted = Predicted(Experiment("a", tmp_path, {}), tmp_path / "similarity.h5")
    ranks = 1 + (values > values[np.arange(300), owners][:, None]).sum(axis=1)
    relevant = [[owner] for owner in owners.tolist()]
    found = queries_shown(predicted, ranks.astype(float), relevant)
    places = [ranks[row] for row in found]
    assert len(found) == retrieval.QUERIES and places == sorted(places) and places[-1] > 90
    for row, line in found.items():
        best = np.argsort(-values[row], kind="stable")[:5].tolist()
        assert [column for column, _ in line] == [*best, *([owners[row]] if owners[row] not in best else [])]
    np.testing.assert_array_equal(predicted.columns([7, 2]), values[:, [7, 2]])
    texts = pd.DataFrame({"text": [f"a caption {number}" for number in range(300)]})
    corpus = retrieval.Corpus(texts, [], [], owners, relevant)
    monkeypatch.setattr(retrieval, "BOX", 6000)
    box = retrieval._box([predicted], [values[:, [7, 2]]], corpus, [200, 100], {7: 0, 2: 1})
    assert box["texts"][:2] == ["a caption 200", "a caption 100"] and [0] in box["right"] and [1] in box["right"]
    assert 4000 < len(json.dumps(box)) < 6000 + 200 + 4 * len(box["right"])


def test_experiments_without_similarities_are_named_and_others_of_the_corpus_refused(results, root):
    (results / "first" / "seed-3" / "similarity.h5").unlink()
    text = made(results, root)
    assert "Left out, without similarities: first." in text and "second: rank 1 of 6" in text
    write_similarities(results / "first" / "seed-3", similarities(0), [f"x{number}" for number in range(12)])
    with pytest.raises(MismatchError, match=r"first.*similarity\.h5"):
        made(results, root)
