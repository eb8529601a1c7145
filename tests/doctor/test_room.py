"""What is still to be written, against what a disk has free."""

from types import SimpleNamespace

import pytest

from earwitness.doctor import room
from earwitness.fetch.records import PublishedFile, Record

FEATURES = "results/{}/features/mel/evaluation.h5"
FRAME = 100 * 50 * 4  # bytes a second of the test's feature: frames, bands, float32


@pytest.fixture
def free(monkeypatch):
    def set_to(count):
        monkeypatch.setattr(room.shutil, "disk_usage", lambda place: SimpleNamespace(free=count))

    set_to(100e9)
    return set_to


@pytest.fixture
def to_write(repository):
    """What a target lacks, in bytes, by name."""
    return lambda target: {part.what: part.bytes for part in room.to_write(repository.ask(target))}


def clips(repository, dataset, *rows):
    lines = ["clip_id,split,path,found_by,seconds,sample_rate,channels,sha256"]
    lines += [
        f"{split}/{number},{split},a.wav,name,{seconds},16000,1,x" for number, (split, seconds) in enumerate(rows)
    ]
    repository.put(f"results/{dataset}/corpus/clips.csv", "\n".join(lines) + "\n")


def test_both_numbers_are_told(repository, free):
    (told,) = repository.found(room.check_disk, "results/mini/small/metrics.json")["ok"]
    assert "results/mini/audio" in told and "100.00 GB are free" in told and "training of mini/small 0.30 GB" in told
    free(0.2e9)
    (told,) = repository.found(room.check_disk, "results/mini/small/metrics.json")["FAIL"]
    assert "0.20 GB are free" in told and "Free some space" in told


def test_a_published_record_that_does_not_fit(repository, free):
    free(16e9)
    (told,) = repository.found(room.check_disk, "results/clotho/corpus/clips.csv")["FAIL"]
    assert "16.00 GB are free" in told and "(recordings of clotho 16.31 GB)" in told
    assert "16.31 GB needed" in repository.found(room.check_disk, "resources/clotho/fetched.json")["FAIL"][0]
    repository.put("resources/clotho/fetched.json", "{}")
    assert repository.found(room.check_disk, "results/clotho/corpus/clips.csv")["FAIL"] == []


def test_entries_with_one_folder_share_what_is_fetched(repository, free):
    repository.entries["datasets"]["again"] = repository.entries["datasets"]["clotho"]
    asked = repository.ask("results/clotho/corpus/clips.csv", "results/again/corpus/clips.csv")
    assert [part.what for part in room.to_write(asked) if part.bytes] == ["recordings of clotho"]


def test_disks_are_told_apart(repository, free, monkeypatch):
    def device(place, real=room.existing):
        return SimpleNamespace(stat=lambda: SimpleNamespace(st_dev="clotho" in str(place)))

    monkeypatch.setattr(room, "existing", device)
    found = repository.found(room.check_disk, "results/clotho/corpus/clips.csv")["ok"]
    assert [told.partition(":")[0] for told in found] == ["Disk of resources/clotho", "Disk of results, resources"]


def test_features_are_counted_by_the_clips(repository, to_write):
    clips(repository, "own", ("development", 30), ("development", 20), ("evaluation", 10))
    assert to_write(FEATURES.format("own"))["own/features/mel"] == (60 + 50) * FRAME
    repository.put("results/own/features/mel/development.h5")
    assert to_write(FEATURES.format("own"))["own/features/mel"] == (10 + 10) * FRAME


def test_features_before_the_corpus_is_read(repository, to_write):
    clotho = 5929 * 22.5
    assert to_write(FEATURES.format("clotho"))["clotho/features/mel"] == pytest.approx(2 * clotho * FRAME, rel=1e-4)
    repository.entries["datasets"]["mini"] |= {"clips": {"development": 4, "validation": 0, "evaluation": 2}}
    mini = to_write(FEATURES.format("mini"))
    assert mini["mini/features/mel"] == (36 + 24) * FRAME
    assert mini["recordings of mini"] == 36 * 16000 * 2
    assert to_write(FEATURES.format("own"))["own/features/mel"] is None


def test_what_nobody_knows_is_a_note(repository, free):
    (told,) = repository.found(room.check_disk, FEATURES.format("own"))["note"]
    assert "of unknown size: own/features/mel" in told


def test_videos_that_are_not_there_yet(repository, to_write):
    rows = ["audiocap_id,youtube_id,start_time,caption", "1,aaaaaaaaaaa,0,a dog", "2,bbbbbbbbbbb,10,a cat"]
    assert to_write("results/videos/corpus/clips.csv") == {"recordings of videos": None}
    repository.put("videos/test.csv", "\n".join(rows) + "\n")
    repository.put("videos/Yaaaaaaaaaaa.wav")
    assert to_write("results/videos/corpus/clips.csv") == {"recordings of videos": 10 * 48000 * 4}
    assert to_write(FEATURES.format("videos"))["videos/features/mel"] == 2 * 20 * FRAME


def test_seeds_that_are_trained_take_no_more(repository, to_write):
    target = "results/own/other/metrics.json"
    assert to_write(target)["training of own/other"] == 2 * room.TRAINING
    repository.put("results/own/other/seed-1/model.safetensors")
    assert to_write(target)["training of own/other"] == room.TRAINING


ATR = {"system": "atr", "features": ["mel"], "text": "vectors", "pooling": "mean", "joint": 8, "seeds": [0, 1]}


def test_weights_of_alignment(repository, to_write):
    repository.entries["texts"]["vectors"] = {"kind": "word_vectors"}
    common = {"system": "alignment", "feature": "mel", "text": "vectors"}
    linear = {"encoder": "linear", "joint": 8}
    repository.entries["experiments"] |= {"crnn": common, "linear": common | linear, "odd": common | {"joint": 7}}
    repository.entries["features"]["mel"]["mels"] = 64
    table = 20_000 * 300
    # A matrix of 64 values and one of 300, a bias each, and the scale; the published encoder.
    sizes = {"linear": 8 * (64 + 300 + 2) + 1, "crnn": 732_354 + 1}
    for name, size in sizes.items():
        assert to_write(f"results/own/{name}/metrics.json")[f"training of own/{name}"] == 4 * (size + table)
    assert to_write("results/own/odd/metrics.json")["training of own/odd"] == room.TRAINING
    assert to_write("results/own/corpus/loudness.h5") == {}


def test_weights_of_a_known_size_and_the_checkpoints_of_the_largest(repository, to_write):
    repository.entries["texts"]["vectors"] = {"kind": "word_vectors"}
    repository.entries["experiments"] |= {"one": ATR, "two": ATR | {"joint": 16}}
    repository.entries["datasets"]["own"]["experiments"] = ["one", "two"]
    written = to_write("results/own/comparison.html")
    # Two gated units from 50 and 300 values: a matrix and a bias each, a square one and a batch normalisation.
    one, two = (4 * (350 * n + 2 * n + 2 * (n * n + 3 * n) + 1) for n in (8, 16))
    assert written["training of own/one"] == pytest.approx(2 * one, rel=0.05)
    assert written["training of own/two"] == pytest.approx(2 * two, rel=0.05)
    assert written["checkpoints while own/two trains"] == written["training of own/two"] / 2 * room.WHILE_TRAINING


def test_vectors_of_texts_and_public_weights_are_counted(repository, to_write):
    text = {"kind": "word_vectors", "vectors": "resources/checkpoints/word2vec-google-news-300.gz"}
    repository.entries["texts"] |= {"google": text, "sentences": {"kind": "sentence"}}
    repository.entries["experiments"] |= {"one": ATR | {"text": "google"}, "two": ATR | {"text": "sentences"}}
    written = to_write("results/own/one/metrics.json")
    assert written["word2vec-google-news-300.gz"] == 1743563840 and written["own/text/google"] == 0
    repository.put("resources/checkpoints/word2vec-google-news-300.gz")
    assert "word2vec-google-news-300.gz" not in to_write("results/own/one/metrics.json")
    assert to_write("results/own/two/metrics.json")["own/text/sentences"] is None
    repository.put("results/own/corpus/captions.csv", "caption_id,clip_id,text\na#1,a,a dog\na#2,a,rain\n")
    assert to_write("results/own/two/metrics.json")["own/text/sentences"] == 2 * 16 * 384 * 4
    repository.put("results/own/text/sentences/vectors.h5")
    assert "own/text/sentences" not in to_write("results/own/two/metrics.json")


def test_archives_come_one_at_a_time(tmp_path):
    archives = (PublishedFile("a.7z", bytes=60, into="a"), PublishedFile("b.7z", bytes=20, into="b"))
    record = Record("r", "R", "https://host/records/1", "", (*archives, PublishedFile("t.csv", bytes=5)), 160)
    assert room.record_bytes(record, tmp_path) == 5 + 60 + 160
    (tmp_path / "a").mkdir()
    assert room.record_bytes(record, tmp_path) == 5 + 20 + 160 * 20 / 80
    (tmp_path / ".fetch").mkdir()
    (tmp_path / ".fetch" / "b.7z.part").write_bytes(bytes(15))
    assert room.record_bytes(record, tmp_path) == 5 + 20 + 40 - 15
    for name in ("b", "t.csv"):
        (tmp_path / name).mkdir()
    assert room.record_bytes(record, tmp_path) == 0
