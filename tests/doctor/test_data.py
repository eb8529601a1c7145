"""Each check of data sets and weights, with what it looks for and without."""

import json

import pytest

from earwitness.doctor import data, splits

TABLE = "clotho_captions_evaluation.csv"
PUBLISHED = "resources/clotho"
VIDEOS = "audiocap_id,youtube_id,start_time,caption\n1,aaaaaaaaaaa,0,a dog\n2,bbbbbbbbbbb,10,a cat\n"


def corpus(name):
    return f"results/{name}/corpus/clips.csv"


def test_recordings_that_are_synthesised(repository):
    found = repository.found(data.check_datasets, corpus("mini"))
    assert found["FAIL"] == [] and len(found["ok"]) == 1


def test_a_folder_of_the_user(repository):
    assert "folder own " in repository.found(data.check_datasets, corpus("own"))["FAIL"][0]
    (repository.folder / "own").mkdir()
    (told,) = repository.found(data.check_datasets, corpus("own"))["FAIL"]
    assert "none of its tables" in told and "datasets.own.tables" in told
    repository.put(f"own/{TABLE}")
    (told,) = repository.found(data.check_datasets, corpus("own"))["ok"]
    assert told.startswith("own: ") and f"tables: {TABLE}" in told


def test_recordings_without_captions_need_no_table(repository):
    (repository.folder / "sounds").mkdir()
    assert repository.found(data.check_datasets, corpus("sounds"))["FAIL"] == []
    repository.entries["datasets"]["sounds"]["table"] = "captions.csv"
    assert "none of its tables" in repository.found(data.check_datasets, corpus("sounds"))["FAIL"][0]


def test_captions_without_recordings(repository):
    entries = repository.entries
    entries["datasets"]["text"] = {"layout": "captions", "tables": {"development": "a.csv", "validation": "b.csv"}}
    entries["datasets"]["text"]["experiments"] = ["learnt"]
    entries["features"]["clap"] = {"extractor": "clap_laion"}
    entries["texts"] |= {"clap": {"kind": "clap_laion"}, "pieces": {"kind": "wordpiece"}}
    entries["experiments"] |= {"learnt": {"system": "wsac"}, "else": {"system": "wsac", "corpus": "text"}}
    repository.put("a.csv", "caption\nrain\n")
    (told,) = repository.found(data.check_datasets, corpus("text"))["FAIL"]
    assert "b.csv" in told and "a.csv" not in told and "datasets.text.tables" in told
    repository.put("b.csv", "caption\nrain\n")
    for target in (corpus("text"), "results/text/learnt/seed-0/model.safetensors"):
        found = repository.found(data.check_datasets, target)
        assert found["FAIL"] == [] and any(told.startswith("text: ") for told in found["ok"])
    for target in ("text", "results/text/features/mel/development.h5", "results/text/small/seed-0/model.safetensors"):
        (told,) = repository.found(data.check_datasets, target)["FAIL"]
        assert "'text'" in told and "recordings" in told
    assert "text" in repository.ask("results/mini/else/seed-0/model.safetensors").needs
    found = repository.found(splits.check_splits, "results/text/text/words/vocabulary.json")
    assert found["FAIL"] == [] and "development 1, validation 1" in found["ok"][0]


@pytest.mark.parametrize(("answer", "mark"), [("", "ok"), ("no answer within 5 s", "FAIL")])
@pytest.mark.parametrize("mirror", [None, "https://mirror.org/clotho"])
def test_a_record_that_is_to_be_fetched(repository, monkeypatch, answer, mark, mirror):
    if mirror:
        repository.entries["datasets"]["clotho"]["mirror"] = mirror
    asked = []
    monkeypatch.setattr(data, "unanswered", lambda address: asked.append(address) or answer)
    (told,) = repository.found(data.check_datasets, corpus("clotho"))[mark]
    assert ("https://mirror.org" if mirror else "https://zenodo.org") in told and answer in told
    assert asked == ["https://mirror.org" if mirror else "https://zenodo.org"]


def test_a_mirror_on_this_machine(repository, monkeypatch):
    monkeypatch.setattr(data, "unanswered", lambda address: pytest.fail("no network is needed"))
    repository.entries["datasets"]["clotho"]["mirror"] = str(repository.folder / "files")
    assert "is no folder" in repository.found(data.check_datasets, corpus("clotho"))["FAIL"][0]
    (repository.folder / "files").mkdir()
    assert "will be fetched from" in repository.found(data.check_datasets, corpus("clotho"))["ok"][0]


@pytest.mark.parametrize("name", ["fetched.json", TABLE])
def test_what_is_there_is_not_asked_for(repository, monkeypatch, name):
    monkeypatch.setattr(data, "unanswered", lambda address: pytest.fail("nothing is to be fetched"))
    repository.put(f"{PUBLISHED}/{name}", "{}")
    if name == "fetched.json":
        repository.put(f"{PUBLISHED}/{TABLE}")
    assert "tables: clotho_captions_evaluation.csv" in repository.found(data.check_datasets, corpus("clotho"))["ok"][0]


@pytest.mark.parametrize("there", [(), ("ffmpeg",), ("yt-dlp", "ffmpeg")])
def test_programs_that_fetch_videos(repository, monkeypatch, there):
    repository.put("videos/test.csv", VIDEOS)
    monkeypatch.setattr(data.shutil, "which", lambda name: name if name in there else None)
    failed = repository.found(data.check_datasets, corpus("videos"))["FAIL"]
    absent = [name for name in ("yt-dlp", "ffmpeg") if name not in there]
    assert len(failed) == bool(absent) and all(name in failed[0] for name in absent)


@pytest.mark.parametrize(
    ("there", "gone", "failures"),
    [(["a", "b"], [], 0), (["a"], ["b"], 0), (["a"], [], 2), (["b"], ["b"], 2)],
)
def test_nothing_that_fetches_is_needed_where_no_clip_is_to_be_fetched(repository, monkeypatch, there, gone, failures):
    monkeypatch.setattr(data.shutil, "which", lambda name: None)
    monkeypatch.setattr(data, "unanswered", lambda address: "ConnectionError")
    repository.put("videos/test.csv", VIDEOS)
    for letter in there:
        repository.put(f"videos/Y{letter * 11}.wav")
    if gone:
        repository.put("videos/unavailable.json", json.dumps({"unavailable": {letter * 11: "gone" for letter in gone}}))
    found = repository.found(data.check_datasets, corpus("videos"))
    assert len(found["FAIL"]) == failures
    assert any("its 2 clips" in told for told in found["ok"]) == (failures == 0)


def test_to_fetch_takes_a_network_and_no_lists(repository, monkeypatch):
    repository.entries["datasets"]["clotho"] |= {"split_scheme": "mine"}
    monkeypatch.setattr(data, "unanswered", lambda address: "ConnectionError")
    (told,) = repository.found(data.check_datasets, f"{PUBLISHED}/fetched.json")["FAIL"]
    assert "https://zenodo.org cannot be reached" in told
    assert len(repository.found(data.check_datasets, corpus("clotho"))["FAIL"]) == 2


def test_videos_are_told_by_tables_and_reached_by_network(repository, monkeypatch):
    monkeypatch.setattr(data.shutil, "which", lambda name: name)
    monkeypatch.setattr(data, "unanswered", lambda address: "ConnectionError")
    failed = repository.found(data.check_datasets, corpus("videos"))["FAIL"]
    assert "none of its tables" in failed[0]
    assert "https://www.youtube.com " in failed[1] and "ConnectionError" in failed[1]


@pytest.mark.parametrize(("installed", "failures"), [(True, 0), (False, 1)])
def test_recordings_that_need_pyav(repository, monkeypatch, installed, failures):
    repository.put(f"own/{TABLE}")
    repository.put("own/evaluation/a.M4A")
    repository.put("own/evaluation/b.wav")
    monkeypatch.setattr(data, "find_spec", lambda name: name if installed else None)
    failed = repository.found(data.check_datasets, corpus("own"))["FAIL"]
    assert len(failed) == failures and all("1 recordings (m4a, mp4)" in told for told in failed)


def test_lists_of_a_split_scheme(repository):
    repository.put(f"own/{TABLE}")
    repository.entries["datasets"]["own"]["split_scheme"] = "mine"
    (told,) = repository.found(data.check_datasets, corpus("own"))["FAIL"]
    assert "resources/splits/clotho_mine_evaluation.txt" in told
    repository.put("resources/splits/clotho_mine_evaluation.txt", "a.wav\n")
    found = repository.found(data.check_datasets, corpus("own"))
    assert found["FAIL"] == [] and "clotho_mine_evaluation.txt" in found["ok"][1]


def test_tables_of_metadata(repository):
    repository.put(f"own/{TABLE}")
    repository.entries["datasets"]["own"]["metadata"] = ["here.csv", "gone.csv"]
    repository.put("here.csv")
    (told,) = repository.found(data.check_datasets, corpus("own"))["FAIL"]
    assert "gone.csv" in told and "here.csv" not in told


def test_id_lists_that_are_absent_are_a_note_where_leaks_are_looked_for(repository):
    repository.entries["id_lists"] = {"audioset": {"files": ["resources/ids.csv"], "kind": "youtube"}}
    repository.entries["datasets"]["mini"]["audit"] = ["audioset"]
    (told,) = repository.found(data.check_datasets, "mini")["note"]
    assert "id list audioset" in told and "resources/ids.csv" in told
    assert repository.found(data.check_datasets, corpus("mini"))["note"] == []
    repository.put("resources/ids.csv", "x")
    assert repository.found(data.check_datasets, "mini")["note"] == []


def test_data_sets_that_the_leak_audit_goes_without(repository):
    repository.entries["id_lists"] = {"listed": {"dataset": "clotho"}}
    repository.entries["datasets"]["mini"]["audit"] = ["listed"]
    (told,) = repository.found(data.check_datasets, "mini")["note"]
    assert "data set clotho " in told and "results/clotho/corpus/clips.csv" in told
    repository.put("resources/clotho/fetched.json", "{}")
    assert repository.found(data.check_datasets, "mini")["note"] == []
    (repository.folder / "resources/clotho/fetched.json").unlink()
    for name in ("clips", "sources"):
        repository.put(f"results/clotho/corpus/{name}.csv")
    assert repository.found(data.check_datasets, "mini")["note"] == []


@pytest.mark.parametrize(
    ("seconds", "on_longer", "mark"),
    [(9.5, "refuse", "FAIL"), (9.5, "cut", "note"), (10, "refuse", None), (20, "refuse", "note"), (None, "cut", None)],
)
def test_the_length_of_a_feature_beside_those_of_the_clips(repository, seconds, on_longer, mark):
    repository.entries["features"]["mel"] |= {"seconds": seconds, "on_longer": on_longer}
    one = {"shortest": 4.0, "median": 8.0, "longest": 10.0}
    repository.put("results/mini/corpus/report.json", json.dumps({"lengths": {"seconds": {"evaluation": one}}}))
    found = repository.found(data.check_datasets, "results/mini/features/mel/evaluation.h5")
    told = [line for line in [*found["note"], *found["FAIL"]] if "lasts 10 s" in line]
    assert [line in found[mark or "ok"] for line in told] == [True] * bool(mark)
    assert all(f"seconds: {seconds:g}`" in line and "features.mel" in line for line in told)


def test_a_table_below_a_folder_that_no_rule_can_read(repository):
    repository.entries["datasets"]["own"] = {"layout": "audiogrounding", "audio": "own"}
    repository.put("own/v {1}/train.json", "[]")
    assert any("v {1}/train.json: {1}" in told for told in repository.found(data.check_datasets, corpus("own"))["FAIL"])


def test_scores_made_elsewhere_are_looked_for_before_the_page_is_made(repository):
    repository.entries["datasets"]["mini"]["others"] = {"gone": "scores/gone", "half": "scores/half"}
    repository.put("scores/half/metrics.json", '{"metrics": {}}')
    told = repository.found(data.check_datasets, "mini")["FAIL"]
    assert len(told) == 2 and "datasets.mini.others.gone: scores/gone" in told[0]
    assert "others.half: scores/half" in told[1] and "scores.csv" in told[1]
    assert repository.found(data.check_datasets, corpus("mini"))["FAIL"] == []
    for name in ("scores.csv", "statistics.h5"):
        repository.put(f"scores/half/{name}")
    repository.put("scores/half/metrics.json", '{"metrics": {}, "provenance": {"made_by": "score retrieval"}}')
    found = repository.found(data.check_datasets, "results/mini/others/half.json")
    assert any("scores/half" in line and "retrieval" in line for line in found["ok"])
