"""The comparison page, from results made by hand."""

import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

from earwitness.corpora.report import REPORT_SCHEMA
from earwitness.corpora.tables import CAPTIONS, CLIPS
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.evaluation.captioning import Captioning
from earwitness.evaluation.compare import Seeds, paired_difference, read_run
from earwitness.evaluation.interface import Baseline
from earwitness.evaluation.others import kinds_of_others, read_other
from earwitness.evaluation.scores import Scores, write_scores
from earwitness.files import read_json
from earwitness.metrics import catalogue
from earwitness.metrics.statistics import mean_of
from earwitness.report import clips, comparison, plots
from earwitness.report.captioning import CLIPS_SHOWN, CaptioningPage
from earwitness.report.comparison import write_comparison
from earwitness.report.differences import Differences
from earwitness.report.interface import Experiment, KindPage
from earwitness.report.notes import Notes, code
from earwitness.report.settings import settings_of

CLIP_IDS = [f"evaluation/{number:02} ü&'s.wav" for number in range(23)]
NAMES_OF_BASELINES = ["constant caption", "one reference"]
EVIL = "<script>alert('a bird')</script>"
REASON = "Java is <not> there."
METRICS = [metric.name for metric in catalogue.of_kind("captioning") if metric.column]
CLASSES = {"made_by": "score grounding", "inputs": {}, "settings": {"classes": True}}  # provenance


class Page(HTMLParser):
    """Tags with their attributes, and what a reader sees of table rows."""

    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.rows = text, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def row(self, name):
        return next(row for row in self.rows if row and row[0].startswith(name))


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_experiment(results, name, cider, seeds=(0,), without=(), encoder="none"):
    metrics = {metric: {"value": 0.25, "ci95": None, "per_seed": [0.25] * len(seeds)} for metric in METRICS}
    per_seed = [cider + 0.01 * seed for seed in seeds]
    value = sum(per_seed) / len(seeds)
    metrics["cider_d"] = {"value": value, "ci95": [value - 0.1, value + 0.1], "per_seed": per_seed}
    metrics |= {metric: {"value": None, "reason": REASON} for metric in without}
    options = {"encoder": {"weights": "some/where/Cnn10.pth"}}
    content = {"schema": 2, "dataset": results.name, "experiment": name, "seeds": list(seeds), "metrics": metrics}
    content |= {"counts": {"ids_sha256": "abc"}}
    content |= {"kinds": {"captioning": {"metrics": list(metrics), "counts": {"captions_empty": 1}}}}
    checkpoints = {} if encoder == "none" else {"encoder.weights": encoder}
    content |= {"provenance": {"weights_sha256": ["x"], "checkpoints": checkpoints, "options": options}}
    write_json(results / name / "metrics.json", content)
    for seed in seeds:
        folder = results / name / f"seed-{seed}"
        (folder / "captioning").mkdir(parents=True)
        write_json(folder / "captioning" / "metrics.json", {"metrics": metrics})
        texts = [EVIL, "", *["a dog barks"] * (len(CLIP_IDS) - 2)]
        scores = [cider * (number % 7) for number in range(len(CLIP_IDS))]
        table = {"clip_id": CLIP_IDS, "caption": texts, "cider_d": scores}
        pd.DataFrame(table).to_csv(folder / "captioning" / "scores.csv", index=False)
        steps = [{"step": step, "epoch": step // 2, "metrics": {"loss": 3.0 - step}} for step in range(4)]
        steps += [{"step": 4, "epoch": 1, "metrics": {"validation_cider_d": cider, "validation_loss": 1.5}}]
        lines = [json.dumps(event) for event in [{"params": {}}, *steps]]
        (folder / "events.jsonl").write_text("\n".join(lines) + '\n{"torn', encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    (folder / "evaluation").mkdir()
    generator = np.random.default_rng(0)
    for clip_id in CLIP_IDS:
        soundfile.write(folder / clip_id, 0.1 * generator.standard_normal(800), 8000)
    return folder


@pytest.fixture
def results(tmp_path):
    return make_results(tmp_path / "some-data")


@pytest.fixture(scope="module")
def page(tmp_path_factory, root):
    return made(make_results(tmp_path_factory.mktemp("results") / "some-data"), root)


def make_results(folder):
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    rows = [(clip_id, "evaluation", clip_id, "name", 0.1, 8000, 1, "") for clip_id in CLIP_IDS]
    pd.DataFrame(rows, columns=CLIPS).to_csv(corpus / "clips.csv", index=False)
    texts = [
        (f"{clip_id}#1", clip_id, f"A reference & more <b>{number}</b>.") for number, clip_id in enumerate(CLIP_IDS)
    ]
    pd.DataFrame(texts, columns=CAPTIONS).to_csv(corpus / "captions.csv", index=False)
    kept = len(CLIP_IDS)
    counts = {"listed": kept + 2, "found": kept + 1, "missing": 1, "refused": 1, "seconds": 2.3}
    refused = [{"clip_id": "evaluation/bad.wav", "reason": "is empty (0 samples)"}]
    report = {
        "schema": REPORT_SCHEMA,
        "clips": {"evaluation": counts},
        "refused": refused,
        "captions": {"evaluation": len(texts)},
    }
    write_json(corpus / "report.json", report | {"ids_sha256": {"evaluation": "abc"}})
    absent = {"value": None, "reason": "Fewer than two clips have several references."}
    baselines = [("constant caption", EVIL, {"value": 0.111}), ("one reference", "0 clips", absent)]
    entries = [
        {"name": name, "label": name.capitalize(), "fact": fact, "metrics": {"cider_d": value}}
        for name, fact, value in baselines
    ]
    write_json(folder / "baselines" / "captioning.json", {"baselines": entries})
    write_experiment(folder, "first", 0.4, seeds=(0, 3), without=["spice", "spider"])
    write_experiment(folder, "second", 0.3, encoder="0123456789abcdef")
    return folder


def made(results, root, experiments=("first", "second"), others=None):
    out = results / "comparison.html"
    write_comparison(results, list(experiments), root, out, others)
    return Page(out.read_text(encoding="utf-8"))


def test_page_is_self_contained_and_escapes_what_users_wrote(page):
    loaded = [
        attributes[key] for tag, attributes in page.tags for key in ("src", "srcset", "data") if key in attributes
    ]
    assert loaded and all(address.startswith("data:") for address in loaded)
    assert not page.of("link") and not re.search(r"url\((?!#)|@import", page.text)
    targets = [attributes.get("href", attributes.get("xlink:href", "#")) for tag, attributes in page.tags if tag != "a"]
    assert all(target.startswith("#") for target in targets)
    assert len(page.of("script")) == 1 and "<b>" not in page.text
    assert EVIL in unescape(page.text) and "A reference & more <b>0</b>." in unescape(page.text)


@pytest.mark.parametrize(
    ("system", "weights", "said"),
    [
        ("zeroshot", [], "by the CLAP clap-mini, without further training"),
        ("wsac", ["x"], "trained on captions alone, by the CLAP clap-mini · mean of 2 seeds"),
    ],
)
def test_the_clap_of_an_experiment_is_named(system, weights, said):
    options = {"system": system, "clap": "clap-mini"}
    made = {"weights_sha256": weights, "checkpoints": {}, "options": options}
    experiment = Experiment("mine", Path("mine"), {"provenance": made, "seeds": [0, 1]})
    assert " · ".join(comparison._facts(experiment)) == said


def test_table_tells_values_intervals_seeds_and_the_best(page):
    cider = 1  # the main metric stands first
    assert page.row("Experiment")[cider] == "CIDEr-D"
    assert page.row("first")[cider].startswith("0.415 (clearly best)0.315–0.515")
    assert page.row("second")[cider].startswith("0.3000.200–0.400")
    assert "<strong>0.415</strong>" in page.text and "<strong>0.300</strong>" not in page.text
    assert {"title": "seed 0: 0.400, seed 3: 0.430"} in page.of("td")
    assert page.row("Constant caption")[cider].startswith("0.111")
    assert "trained from scratch · mean of 2 seeds · empty captions: 1" in page.row("first")[0]
    assert "encoder from Cnn10.pth (01234567)" in page.row("second")[0]


def test_table_and_plots_lie_beside_the_page(results, root):
    page = made(results, root)
    table = pd.read_csv(results / "comparison.csv")
    assert table.loc[table["metric"] == "cider_d", "name"].tolist() == ["first", "second", *NAMES_OF_BASELINES]
    plots_ = {path.stem for path in (results / "plots").iterdir()}
    assert plots_ == {"loss", "scores-captioning", "validation_cider_d"} and len(plots_) == page.text.count("<svg")


def test_absent_scores_have_their_reasons(page):
    spice = page.row("Experiment").index("SPICE")
    assert page.row("first")[spice].startswith("—1")
    assert page.of("td").count({"title": REASON}) == 2
    assert page.text.count('<li id="captioning-reason-1">SPICE, SPIDEr: Java is &lt;not&gt; there.</li>') == 1
    assert "Fewer than two clips" in page.text


def test_what_was_refused_is_said(page):
    assert "<strong>23</strong> evaluation clips scored" in page.text
    assert "<strong>1</strong> clips without audio" in page.text
    assert "1 of 24 evaluation clips found" in page.text and "evaluation/bad.wav: is empty (0 samples)" in page.text


def test_published_figures_stand_only_beside_their_own_data(tmp_path, root, monkeypatch):
    results = make_results(tmp_path / "clotho-cl4ac")
    page = made(results, root)
    assert "Published" not in page.text
    (line,) = [line for line in page.text.splitlines() if "CL4AC baseline" in line]
    assert "4784 development clips" in line and "1045 evaluation clips, here 23." in line
    kept = {split: c["found"] - c["refused"] for split, c in read_json(results / "corpus/report.json")["clips"].items()}
    theirs = "{ development: 4784, validation: 100, evaluation: 1045 }"
    edited = comparison.PUBLISHED.read_text(encoding="utf-8").replace(theirs, json.dumps(kept))
    monkeypatch.setattr(comparison, "PUBLISHED", tmp_path / "published.yaml")
    comparison.PUBLISHED.write_text(edited, encoding="utf-8")
    page = made(results, root)
    assert [cell.strip() for cell in page.row("CL4AC baseline")[1:]] == (
        ["0.356", "0.550", "0.345", "0.222", "0.139", "0.372", "0.169", "0.115", "0.235"]
    )
    assert "poster" in page.row("CL4AC baseline")[0]
    other = {"clips": {"evaluation": {"found": 24, "refused": 1}}}
    assert comparison._published("some-data", dict.fromkeys(METRICS), other) == ([], [])
    assert comparison._published("clotho", dict.fromkeys(METRICS), other) == ([], [])


def test_clips_to_hear_go_from_the_best_to_the_worst(page):
    assert len(page.of("audio")) == len(page.of("img")) == CLIPS_SHOWN
    assert all(image["alt"] for image in page.of("img"))
    scores = [float(row[2]) for row in page.rows if len(row) == 3 and row[0] == "first"]
    assert len(scores) == len(CLIP_IDS)
    played, others = scores[:CLIPS_SHOWN], scores[CLIPS_SHOWN:]  # those without sound follow
    assert played == sorted(played, reverse=True) and others == sorted(others, reverse=True)
    assert played[0] == pytest.approx(2.4) and played[-1] == 0


def test_same_inputs_give_the_same_bytes(page, results, root):
    assert made(results, root).text == page.text


def test_features_of_random_weights_are_marked(page, results, root):
    path = results / "second" / "metrics.json"
    write_json(path, json.loads(path.read_text()) | {"untrained": ["cnn14-untrained"]})
    marked = made(results, root)
    mark = marked.row("second")[0].partition("Untrained: ")[2]
    assert "cnn14-untrained" in mark and "Untrained" not in marked.row("first")[0]


def test_metrics_on_validation_clips_are_said(page, results, root):
    path = results / "second" / "metrics.json"
    content = json.loads(path.read_text())
    content["kinds"]["captioning"]["chosen"] = [{"validation_cider_d": 0.4321, "tau": 0.01}]
    write_json(path, content)
    marked = made(results, root)
    assert "validation CIDEr-D: 0.432" in marked.row("second")[0] and "validation" not in marked.row("first")[0]


def test_remarks_on_training_data_are_marked(page, results, root):
    path = results / "second" / "metrics.json"
    write_json(path, json.loads(path.read_text()) | {"remarks": ["weights of <clap>"]})
    marked = made(results, root)
    assert "Note: weights of <clap>" in marked.row("second")[0] and "clap" not in marked.row("first")[0]


def test_leaks_are_marked_and_what_could_not_be_checked_is_said(page, results, root):
    assert not any("leak" in attributes.get("class", "") for attributes in page.of("small"))
    path = results / "second" / "metrics.json"
    mark = {"list": "vgg<sound>", "kind": "youtube", "by": ["youtube"], "clips": 12, "of": 975, "clips_without_id": 3}
    absent = {"list": "own", "kind": "name", "by": [], "clips": None, "of": 975, "reason": "put it at a/b.csv"}
    none = {"list": "development", "kind": "split", "by": [], "clips": 0, "of": 975}
    write_json(path, json.loads(path.read_text()) | {"leaks": [none, mark, absent]})
    marked = made(results, root)
    leak = marked.row("second")[0].partition("Leak: ")[2]
    assert leak.startswith("12 of 975 evaluation clips are in vgg<sound>, ") and "(YouTube id)" in leak
    assert "Leak" not in marked.row("first")[0]
    assert "vgg<sound>" not in marked.text and "development, which" not in marked.text
    unchecked = [
        line for line in unescape(marked.text).splitlines() if line.startswith('<p class="soft"><small>second: ')
    ]
    assert len(unchecked) == 2 and "3 of 975 evaluation clips" in unchecked[0]
    assert ": put it at a/b.csv" in unchecked[1]
    write_json(path, json.loads(path.read_text()) | {"leaks": [none]})
    assert made(results, root).text == page.text


def test_results_that_do_not_belong_here_are_refused(results, root):
    path = results / "second" / "metrics.json"
    content = json.loads(path.read_text())
    write_json(path, content | {"counts": {"ids_sha256": "other"}, "dataset": "cloto"})
    with pytest.raises(MismatchError, match=r"second.*'cloto'.*'some-data'.*evaluation clips.*clips\.csv"):
        made(results, root)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(EarwitnessError, match=r"second/metrics\.json"):
        made(results, root)
    path.unlink()
    with pytest.raises(EarwitnessError, match=r"second/metrics\.json"):
        made(results, root)
    assert not (results / "comparison.html").exists()


def test_a_long_clip_is_cut_and_a_silent_one_is_dark(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros((31 * 8000, 2)), 8000)
    found = clips.excerpt(path)
    assert found.cut and found.seconds == clips.SECONDS
    assert not clips._levels(np.zeros(16000, dtype=np.float32), 16000).any()


def test_curves_are_means_of_epochs_and_nothing_is_drawn_of_nothing(results):
    curves = plots.read_curves(results / "first" / "seed-0" / "events.jsonl")
    assert curves == {"loss": {1: 2.5, 2: 0.5}, "validation_cider_d": {2: 0.4}, "validation_loss": {2: 1.5}}
    assert plots.curve_plot("x", "Loss", {"loss_caption": "-"}, [[curves]]) is None
    drawn = plots.curve_plot("x", 'A "title"', {"loss": "-"}, [[curves]])
    assert drawn.startswith('<svg role="img" aria-label="A &quot;title&quot;"') and "var(--c0)" in drawn
    assert "http" not in drawn and "#00000" not in drawn


def test_two_models_have_two_columns_and_what_was_not_computed_has_its_reason():
    def experiment(name, metrics, errors):
        kinds = {"captioning": {"metrics": list(metrics), "counts": {}}}
        scores = Scores({}, {}, {"fer.x": mean_of(np.array(errors))}, [str(clip) for clip in range(len(errors))], {})
        return Experiment(
            name, None, {"metrics": metrics, "seeds": [0], "kinds": kinds}, {"captioning": Seeds([scores])}
        )

    def value(number):
        return {"value": number, "per_seed": [number]}

    absent = {"value": None, "reason": "no detector"}
    first = {"sbert_sim.mini": value(0.5), "fer.x": value(0.2), "fense": absent, "vocab_candidates": value(70.0)}
    second = {"sbert_sim.tiny": value(0.7), "fer.x": value(0.1), "fer": absent, "vocab_candidates": value(74.0)}
    found = [experiment("first", first, [0.2] * 9), experiment("second", second, [0.1] * 9)]
    page = CaptioningPage(Captioning())
    columns = page.columns(found)
    assert list(columns)[: len(METRICS)] == METRICS
    assert list(columns.values())[len(METRICS) :] == ["SBERT-sim (mini)", "SBERT-sim (tiny)", "FER (x)", "Vocabulary"]
    metrics = {name: page.kind.metric(name) for name in columns}
    differences = Differences(page.kind, found)
    best = [differences.clear_best(metrics[name]) for name in ("sbert_sim.mini", "fer.x", "vocab_candidates")]
    assert best == [None, 1, None]
    assert comparison._reasons(Notes(), found, page, columns) == ["FENSE, FER: no detector"]
    cells = [comparison._cell(found[1], metric, Notes()) for metric in metrics.values()]
    assert [cell.text for cell in cells][len(METRICS) :] == ["—", "0.700", "0.100", "74"]


def test_each_kind_of_prediction_is_a_section_with_its_baselines(results, root):
    path = results / "second" / "metrics.json"
    content = json.loads(path.read_text())
    value = {"value": 0.625, "ci95": [0.5, 0.75], "per_seed": [0.625]}
    content["metrics"]["t2a_r10"] = value
    content["kinds"]["retrieval"] = {"metrics": ["t2a_r10"], "counts": {}}
    write_json(path, content)
    write_json(results / "second" / "seed-0" / "retrieval" / "metrics.json", {"metrics": {"t2a_r10": value}})
    table = pd.DataFrame({"clip_id": CLIP_IDS, "t2a_r10": 0.625})
    table.to_csv(results / "second" / "seed-0" / "retrieval" / "scores.csv", index=False)
    chance = {"name": "chance", "label": "Chance", "fact": "23 clips", "metrics": {"t2a_r10": {"value": 0.435}}}
    write_json(results / "baselines" / "retrieval.json", {"baselines": [chance]})
    page = made(results, root)
    headings = re.findall(r"<h2>(.*?)</h2>", page.text)
    assert headings[0].startswith("Captioning") and any(heading.startswith("Retrieval") for heading in headings)
    rows = [row for row in page.rows if row and row[0].startswith("second")]
    assert any("0.6250.500–0.750" in cell for cell in rows[1])
    assert "0.435" in [cell.strip() for cell in page.row("Chance")]
    plot = page.text.split('aria-label="R@10 (text to audio) of each')[1].split("</svg>")[0]
    assert "var(--c1)" in plot and "var(--c0)" not in plot  # the colour of the second experiment, as in the table


def test_a_kind_without_a_page_of_its_own_shows_scores_alone():
    page = KindPage(Captioning())
    assert page.template is None and page.examples([], None, None) == {}
    assert page.headline([]) == "spider"
    assert Baseline("a", "b", "c").metrics == {}


def rows_of(*columns):
    """Rows of a table with these CIDEr-D by clip."""
    scores = [
        Scores({}, {}, {"cider_d": mean_of(np.array(values))}, [str(clip) for clip in range(len(values))], {})
        for values in columns
    ]
    results = [{"metrics": {"cider_d": {"value": np.mean(values)}}, "seeds": [0]} for values in columns]
    return [
        Experiment(str(number), None, result, {"captioning": Seeds([one])})
        for number, (result, one) in enumerate(zip(results, scores, strict=True))
    ]


def test_only_a_row_that_is_clear_of_all_others_and_of_the_constant_caption_is_the_best():
    noise = np.tile([0.0, 0.3, -0.3, 0.1], 10)
    low, high, noisy = 0.2 * np.ones(40), 0.3 * np.ones(40), 0.31 + noise
    metric, kind = catalogue.find("cider_d"), Captioning()

    def best(found, constant=0.1):
        baselines = [
            Baseline(name, name, "", {"cider_d": {"value": value}})
            for name, value in (("constant caption", constant), ("one reference", 9.0))
        ]
        return Differences(kind, found, baselines).clear_best(metric)

    assert best(rows_of(low, high)) == 1 and best(rows_of(high, low)) == 0
    assert best(rows_of(low, noisy, high)) is None  # the highest is not clear of the second
    assert best(rows_of(low, high), constant=0.3) is None
    assert best(rows_of(high)) is None and best(rows_of(high, high)) is None
    unknown = replace(rows_of(high)[0], scores={})
    assert best([*rows_of(low), unknown]) is None
    differences = Differences(kind, rows_of(low, noisy))
    found = differences.to_first("cider_d", 1)
    assert found["difference"] == pytest.approx(0.135) and found["p_value"] == 1 / 2001
    assert differences.to_first("cider_d", 0) is None and differences.to_first("bleu_1", 1) is None
    assert comparison._difference(found | {"difference": -0.1}, metric)[0] == "\N{MINUS SIGN}0.100"
    assert comparison._difference(found, metric)[1] == "p < 0.001"


def test_a_reason_within_another_is_told_once_and_code_is_code():
    notes = Notes()
    jars, detector = "No jars: `snakemake <jars>` fetches them.", "No detector."
    spider = f"SPIDEr needs SPICE: {jars}"
    assert [notes.number(spider, "SPIDEr"), notes.number(jars, "SPICE"), notes.number(jars, "METEOR")] == [1, 2, 2]
    notes.number(f"{spider}; {detector}", "SPIDEr-FL")
    notes.number(detector, "FER")
    told = notes.lines("captioning")
    assert told[1] == "SPICE, METEOR: No jars: <code>snakemake &lt;jars&gt;</code> fetches them."
    assert unescape("".join(told)).count("snakemake") == 1
    assert re.findall(r"#captioning-reason-(\d)", told[0]) == ["2"]
    assert re.findall(r"#captioning-reason-(\d)", told[2]) == ["1", "4"]
    assert code("`a` <b>") == "<code>a</code> &lt;b&gt;"


def test_what_the_rows_were_made_with_is_told_and_where_they_differ(tmp_path):
    def experiment(name, times, options, **provenance):
        for seed, time in enumerate(times):
            folder = tmp_path / name / f"seed-{seed}"
            folder.mkdir(parents=True)
            (folder / "events.jsonl").write_text(json.dumps({"time": time, "metrics": {}}) + "\n", encoding="utf-8")
        result = {"seeds": list(range(len(times))), "provenance": {"options": options, **provenance}}
        return Experiment(name, tmp_path / name, result)

    first = experiment("a", [0.0], {"decode": {"beam": 1}, "lr": 0.1}, code="0.2.0+ab", commit="12ab")
    second = experiment("b", [86400.0, 60.0], {"decode": {"beam": 4}, "lr": 0.1, "x": None}, code="0.2.0+ab")
    other = replace(first, elsewhere=True)
    found = settings_of([first, second, other])
    assert found.shared == {"Trained": "1970-01-01 to 1970-01-02", "Earwitness": "0.2.0+ab"}
    assert found.differing == {
        "Trained": ["1970-01-01 00:00 UTC", "1970-01-02 00:00 UTC"],
        "Seeds": ["0", "0, 1"],
        "Commit": ["12ab", "—"],
        "decode.beam": ["1", "4"],
        "x": ["—", "null"],
    }
    options = [{"system": "x", "lr": rate, "beam": 2} for rate in (0.1, 0.2)] + [
        {"system": "y", "margin": 0.2, "lr": 1}
    ]
    systems = [experiment(name, [0.0], given) for name, given in zip("cde", options, strict=True)]
    assert settings_of(systems).differing == {"system": ["x", "x", "y"], "lr": ["0.1", "0.2", "1"]}
    untrained = replace(first, folder=tmp_path / "none")
    assert settings_of([untrained]).shared == {"Seeds": "0", "Earwitness": "0.2.0+ab", "Commit": "12ab"}
    assert settings_of([]).shared == settings_of([other]).differing == {}


def scored_elsewhere(folder, clip_ids, made_by="score captions", **more):
    """A folder as of ``earwitness score captions --out``."""
    values = np.linspace(0.5, 2.5, len(clip_ids))
    metrics = {
        "cider_d": {"value": 1.5, "ci95": [1.4, 1.6], "per_seed": [1.5]},
        "spice": {"value": None, "reason": "x"},
    }
    scored = SimpleNamespace(
        metrics=metrics, by_clip={"cider_d": values}, statistics={"cider_d": mean_of(values)}, ids=list(clip_ids)
    )
    provenance = {"made_by": made_by, "inputs": {"references": "ab"}, "settings": {"match": "exact"}}
    content = {"metrics": metrics, "counts": {"captions_empty": 2}, "provenance": provenance} | more
    write_scores(folder, scored, {"caption": ["a <cat> purrs"] * len(clip_ids)}, content)
    return folder


@pytest.fixture(scope="module")
def others_page(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("others")
    results = make_results(folder / "some-data")
    # Named without folder and in another order.
    theirs = scored_elsewhere(folder / "scores/theirs", [clip_id.split("/")[1] for clip_id in reversed(CLIP_IDS)])
    page = made(results, root, others={"theirs": theirs})
    page.scores = {
        "first": read_run(results / "first").first,
        "theirs": read_other("theirs", theirs, results / "corpus").scores,
    }
    return page


def test_scores_made_elsewhere_stand_beside_the_experiments_and_are_marked(others_page):
    row = others_page.row("theirs")
    assert "made elsewhere" in row[0] and "references from another file" in row[0] and "empty captions: 2" in row[0]
    difference = paired_difference("cider_d", *(others_page.scores[name] for name in ("first", "theirs")))
    assert row[1].strip() == f"1.5001.400–1.600{difference['difference']:+.3f}p = {difference['p_value']:.3f}"
    assert difference["p_value"] > 0.05 and "clearly best" not in others_page.text  # first is no longer clear of all
    rows = [row[0].split("\n")[0] for row in others_page.rows if row]
    assert rows.index("Made elsewhere") == rows.index(next(name for name in rows if name.startswith("theirs"))) - 1
    first = next(row for row in others_page.rows if len(row) == 3 and row[0] == "theirs")
    # Of the clip with the best caption of the first experiment, number 6: 17th in the reversed order.
    assert first[1] == "a <cat> purrs" and first[2].startswith(f"{0.5 + 2 * 16 / 22:.2f}\n")


def test_clips_can_be_searched_and_sorted_and_none_is_lost_without_scripts(others_page):
    assert len([1 for tag in others_page.of("article") if "clip" in tag["class"]]) == len(CLIP_IDS)
    (form,) = [tag for tag in others_page.of("form") if "tools" in tag["class"]]
    assert "hidden" in form  # until the script shows it
    assert {"type": "search"}.items() <= others_page.of("input")[0].items()
    values = [option["value"] for option in others_page.of("option")]
    assert {"0 -1", "0 1", "2 -1", "2 1", "1 -1 0", "2 1 0", "name"} <= set(values)
    scores = [row["data-score"] for row in others_page.of("tr") if "data-score" in row]
    assert len(scores) == 3 * len(CLIP_IDS) and all(map(float, scores[2::3]))
    details = [tag for tag in others_page.of("details") if "more" in tag.get("class", "")]
    assert len(details) == 1 and "hidden" not in details[0]


def test_every_table_that_may_scroll_says_so(others_page):
    divisions = [(tag, attributes.get("class", "")) for tag, attributes in others_page.tags]
    scrolling = [place for place, (tag, names) in enumerate(divisions) if tag == "div" and "scroll" in names.split()]
    assert scrolling and all(divisions[place - 1] == ("p", "hint") for place in scrolling)


def test_folders_that_hold_no_scores_of_the_split_are_refused(results, tmp_path):
    corpus, scores = results / "corpus", tmp_path / "scores"
    scored_elsewhere(scores / "classes", CLIP_IDS, "score grounding", provenance=CLASSES)
    scored_elsewhere(scores / "unknown", CLIP_IDS, "scores")
    (scores / "file").write_text("")
    write_json(scores / "torn" / "metrics.json", {"metrics": {}})
    names = {"absent", "file", "torn", "classes", "unknown"}
    others = {name: scores / name for name in names} | {"experiment": results / "first"}
    with pytest.raises(EarwitnessError) as caught:
        kinds_of_others(others)
    told = [line.split(":")[0] for line in str(caught.value).splitlines() if line.startswith("  - ")]
    assert sorted(told) == sorted(f"  - others.{name}" for name in others)
    assert "no scores.csv" in str(caught.value) and "--classes" in str(caught.value)
    scored_elsewhere(scores / "part", ["new.wav", *CLIP_IDS[2:]])
    with pytest.raises(MismatchError) as caught:
        read_other("part", scores / "part", corpus)
    words = ["others.part", "scores.csv (22 clips)", "(23 captioning clips", "'new.wav'", repr(CLIP_IDS[0])]
    assert [word for word in words if word not in str(caught.value)] == []
    assert kinds_of_others({"part": scores / "part"}) == {"part": "captioning"}
