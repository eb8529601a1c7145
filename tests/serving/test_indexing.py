"""Indices are made and brought up to date; what is wrong with a folder, a model or an index is said."""

import os
import shutil

import numpy as np
import pytest

from earwitness import serving
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.extractors.logmel import LogMelOptions
from earwitness.features import workers
from earwitness.serving import indexing, recordings
from earwitness.serving.indexing import update
from earwitness.serving.store import Index
from tests.serving.conftest import FRONT_END, write_model, write_tone
from tests.serving.fake import Bands

NAMES = ["2.wav", "4.flac", "below/10.ogg", "below/6.wav", "below/8.wav"]


def names(path):
    return [row.path for row in Index(path).rows()]


def test_an_index_holds_every_recording_below_a_folder(tones, model, tmp_path):
    out = tmp_path / "made/of.h5"
    counts = serving.index(tones, model, out)
    assert counts == {
        "recordings": 5, "new": 5, "changed": 0, "renamed": 0, "unchanged": 0, "gone": 0, "unreadable": 0,
    }  # fmt: skip
    index = Index(out)
    assert names(out) == NAMES and index.root == tones and index.embeddings.argmax(axis=1).tolist() == [2, 4, 10, 6, 8]
    assert np.allclose(np.linalg.norm(index.embeddings, axis=1), 1)
    assert index.rows()[0].seconds == pytest.approx(0.1) and not [*out.parent.glob(".*")]


def test_only_what_changed_is_embedded(tones, model, tmp_path):
    out = tmp_path / "of.h5"
    serving.index(tones, model, out)
    before, written = dict(zip(names(out), Index(out).embeddings, strict=True)), out.stat().st_mtime_ns
    Bands.embedded.clear()
    assert serving.index(tones, model, out)["unchanged"] == 5
    assert out.stat().st_mtime_ns == written and not Bands.embedded
    write_tone(tones / "2.wav", 12, seconds=0.2)  # changed
    write_tone(tones / "new.wav", 3)
    (tones / "4.flac").rename(tones / "renamed.flac")
    shutil.copy(tones / "below/8.wav", tones / "copy.wav")
    (tones / "below/6.wav").unlink()
    os.utime(tones / "below/8.wav", ns=(1, 1))
    assert serving.index(tones, model, out) == {
        "recordings": 6, "new": 1, "changed": 1, "renamed": 2, "unchanged": 2, "gone": 2, "unreadable": 0,
    }  # fmt: skip
    assert sorted(Bands.embedded) == ["2.wav", "new.wav"]
    after = dict(zip(names(out), Index(out).embeddings, strict=True))
    assert list(after) == ["2.wav", "below/10.ogg", "below/8.wav", "copy.wav", "new.wav", "renamed.flac"]
    assert after["2.wav"].argmax() == 12 and after["new.wav"].argmax() == 3
    assert np.array_equal(after["renamed.flac"], before["4.flac"])
    assert np.array_equal(after["copy.wav"], before["below/8.wav"])
    assert np.array_equal(after["below/10.ogg"], before["below/10.ogg"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, EarwitnessError])
def test_a_stopped_indexing_goes_on_where_it_was(tones, model, tmp_path, monkeypatch, error):
    out = tmp_path / "of.h5"
    monkeypatch.setattr(recordings, "BLOCK", 2)
    monkeypatch.setattr(indexing, "PART", 2)
    embedded, calls = indexing.embedded, []

    def stops(model, clips):
        calls.append(clips.ids)
        if len(calls) == 2:
            raise error("stop")
        return embedded(model, clips)

    monkeypatch.setattr(indexing, "embedded", stops)
    with pytest.raises(error):
        update(tones, model, out)
    assert not out.exists() and calls == [NAMES[:2], NAMES[2:4]]
    (tmp_path / ".of.h5.parts/torn.h5").write_bytes(b"torn")
    Bands.embedded.clear()
    assert update(tones, model, out).counts["new"] == 5
    assert names(out) == NAMES and Bands.embedded == NAMES[2:]
    assert Index(out).embeddings.argmax(axis=1).tolist() == [2, 4, 10, 6, 8]
    assert not (tmp_path / ".of.h5.parts").exists()


def test_parts_whose_folder_cannot_be_removed_harm_no_indexing(tones, model, tmp_path, monkeypatch):
    """As on NFS, where a file that is open keeps its folder."""

    def refused(path, *args, **kwargs):
        if str(path).endswith(".parts"):
            raise OSError(39, "Directory not empty", str(path))
        remove(path, *args, **kwargs)

    remove = os.rmdir
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refused)
        assert update(tones, model, tmp_path / "of.h5").counts["new"] == len(NAMES)
    assert not list((tmp_path / ".of.h5.parts").rglob("*.h5"))
    assert update(tones, model, tmp_path / "of.h5").counts["unchanged"] == len(NAMES)
    assert not (tmp_path / ".of.h5.parts").exists()


def test_parts_of_another_model_are_not_taken(tones, model, tmp_path):
    other = write_model(tmp_path / "other", scale=2.0)
    update(tones, other, tmp_path / "other.h5")
    (tmp_path / ".of.h5.parts").mkdir()
    shutil.move(tmp_path / "other.h5", tmp_path / ".of.h5.parts/0000000.h5")
    update(tones, model, tmp_path / "of.h5")
    assert np.allclose(np.linalg.norm(Index(tmp_path / "of.h5").embeddings, axis=1), 1)


def test_several_features_and_processes_give_the_same(tones, tmp_path, monkeypatch):
    short = FRONT_END["settings"] | {"seconds": 0.05, "on_longer": "cut"}
    features = {"mel": FRONT_END, "short": FRONT_END | {"settings": short}}
    model = write_model(tmp_path / "two", features=features)
    monkeypatch.setattr(recordings, "BLOCK", 1)

    def in_two(shards, processes, progress):  # as processes do, of which one is done before the other
        assert processes == 2
        monkeypatch.setattr(workers, "_state", {"extractors": {}, "progress": progress})
        for shard in reversed(list(shards)):
            yield workers._make_one(shard)

    monkeypatch.setattr(recordings, "in_processes", in_two)
    update(tones, model, tmp_path / "one.h5", cores=1)
    update(tones, model, tmp_path / "two.h5", cores=2)
    one, two = Index(tmp_path / "one.h5"), Index(tmp_path / "two.h5")
    assert one.embeddings.shape == (5, 32) and np.array_equal(one.embeddings, two.embeddings)
    assert one.rows() == two.rows()


def test_unreadable_recordings_are_all_reported_and_left_out(tones, tmp_path):
    limited = FRONT_END | {"settings": FRONT_END["settings"] | {"seconds": 0.15}}
    model = write_model(tmp_path / "limited", features={"mel": limited})
    (tones / "2.wav").write_bytes(b"RIFF")
    (tones / "empty.mp3").touch()
    write_tone(tones / "long.wav", 5, seconds=0.3)
    done = update(tones, model, tmp_path / "of.h5")
    assert done.counts["recordings"] == 4 and done.counts["unreadable"] == 3
    assert {error.path.name for error in done.unreadable} == {"2.wav", "empty.mp3", "long.wav"}
    assert "0.3" in str(done.unreadable[-1]) and "0.15" in str(done.unreadable[-1])
    for name in NAMES[1:]:
        (tones / name).unlink()
    with pytest.raises(EarwitnessError) as caught:
        update(tones, model, tmp_path / "none.h5")
    assert all(name in str(caught.value) for name in ("2.wav", "empty.mp3", "long.wav"))
    assert not [*tmp_path.glob(".*")]


@pytest.mark.parametrize("folder", ["absent", "empty", "without"])
def test_a_folder_without_recordings_is_named(folder, model, tmp_path):
    if folder != "absent":
        (tmp_path / folder).mkdir()
    if folder == "without":
        (tmp_path / folder / "notes.txt").write_text("no recording")
    with pytest.raises(EarwitnessError, match=folder):
        update(tmp_path / folder, model, tmp_path / "of.h5")
    assert not [*tmp_path.glob(".*")] and not (tmp_path / "of.h5").exists()


def test_an_index_of_another_model_or_folder_stays(tones, model, tmp_path):
    out = tmp_path / "of.h5"
    update(tones, model, out)
    content = out.read_bytes()
    other = write_model(tmp_path / "other", scale=2.0)
    with pytest.raises(MismatchError, match=r"of\.h5.*other.*weights"):
        update(tones, other, out)
    write_tone(tmp_path / "elsewhere/2.wav", 2)
    with pytest.raises(EarwitnessError, match=r"of\.h5.*tones.*elsewhere"):
        update(tmp_path / "elsewhere", model, out)
    assert out.read_bytes() == content


def test_a_folder_that_was_moved_is_not_embedded_again(tones, model, tmp_path):
    out = tmp_path / "of.h5"
    update(tones, model, out)
    tones.rename(tmp_path / "moved")
    copied = shutil.copytree(model, tmp_path / "model elsewhere")
    Bands.embedded.clear()
    assert update(tmp_path / "moved", copied, out).counts["unchanged"] == 5 and not Bands.embedded
    assert Index(out).root == tmp_path / "moved" and Index(out).model["folder"] == str(copied)


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", "foreign", "cut", "lengths"])
def test_a_damaged_or_foreign_index_is_named(tones, model, tmp_path, content):
    import h5py

    out = tmp_path / "of.h5"
    update(tones, model, out)
    if content == "foreign":
        out.unlink()
        h5py.File(out, "w").close()
    elif content == "lengths":
        with h5py.File(out, "r+") as file:
            del file["sizes"]
            file["sizes"] = [1, 2]
    else:
        out.write_bytes(out.read_bytes()[:-600] if content == "cut" else content)
    for attempt in (lambda: update(tones, model, out), lambda: serving.search(out, ["band 2"])):
        with pytest.raises(EarwitnessError, match=r"of\.h5"):
            attempt()


def test_a_model_that_does_not_embed_is_named(tones, tmp_path):
    model = write_model(tmp_path / "captions", system="no_dual")
    with pytest.raises(EarwitnessError, match=r"captions.*no_dual"):
        update(tones, model, tmp_path / "of.h5")
    with pytest.raises(EarwitnessError, match="nowhere"):
        update(tones, tmp_path / "nowhere", tmp_path / "of.h5")
    with pytest.raises(EarwitnessError, match="toyy"):
        update(tones, write_model(tmp_path / "unknown", system="toyy"), tmp_path / "of.h5")
    (model / "model.safetensors").unlink()
    with pytest.raises(EarwitnessError, match=r"model\.safetensors"):
        update(tones, model, tmp_path / "of.h5")


def test_features_that_cannot_be_computed_are_all_named(tones, tmp_path):
    settings = {"extractor": "panns_cnn14", "weights": "file", "seed": 0, "precision": "float32", "storage": "float32"}
    features = {
        "theirs": {"made_by": "external", "settings": {}, "inputs": {}},
        "unknown": {"made_by": "yamnet", "settings": {}, "inputs": {}},
        "cnn14": {"made_by": "panns_cnn14", "settings": settings, "inputs": {"weights": "0" * 64}},
        "newer": FRONT_END | {"settings": FRONT_END["settings"] | {"odd": 1}},
    }
    model = write_model(tmp_path / "model", features=features)
    with pytest.raises(EarwitnessError) as caught:
        update(tones, model, tmp_path / "of.h5")
    told = str(caught.value)
    assert all(f"{name}: " in told for name in features) and "0" * 64 in told and "odd" in told and "--weights" in told
    with pytest.raises(EarwitnessError, match=r"gone\.pth"):
        update(tones, model, tmp_path / "of.h5", [tmp_path / "gone.pth"])


def test_weights_are_found_by_their_digest(tmp_path):
    folder = tmp_path / "resources/checkpoints"
    folder.mkdir(parents=True)
    (folder / "Cnn14_mAP=0.431.pth").write_bytes(b"public")
    (tmp_path / "own.pth").write_bytes(b"own")
    settings = {"extractor": "panns_cnn14", "seed": 0, "precision": "float32", "storage": "float32"}
    for path, given in ((folder / "Cnn14_mAP=0.431.pth", []), (tmp_path / "own.pth", [tmp_path / "own.pth"])):
        inputs = {"weights": recordings.state(path)["sha256"]}
        front_end = {"made_by": "panns_cnn14", "settings": settings | {"weights": "file"}, "inputs": inputs}
        options = recordings.feature_options(front_end, given)
        assert options.checkpoints()["weights"].absolute() == path


def test_options_of_features_come_back_as_they_were():
    options = recordings.feature_options(FRONT_END)
    assert isinstance(options, LogMelOptions) and options.settings("frames") == FRONT_END["settings"]


def test_embeddings_of_a_wrong_shape_or_value_are_refused(tones, model, tmp_path, monkeypatch):
    monkeypatch.setattr(Bands, "embed_clips", lambda self, clips: np.ones(3))
    with pytest.raises(EarwitnessError, match=r"embed_clips.*\[3\].*5 clips"):
        update(tones, model, tmp_path / "of.h5")
    monkeypatch.setattr(Bands, "embed_clips", lambda self, clips: np.full((len(clips), 2), np.nan))
    with pytest.raises(EarwitnessError, match=r"below/6\.wav"):
        update(tones, model, tmp_path / "of.h5")


def test_one_process_at_a_time(tones, model, tmp_path):
    from earwitness.lock import hold

    with hold(tmp_path / ".of.h5.parts/lock"), pytest.raises(EarwitnessError, match=r"of\.h5"):
        update(tones, model, tmp_path / "of.h5")


def test_folders_that_cannot_be_read_are_named(tones, model, tmp_path, unreadable):
    unreadable(tones / "below")
    done = update(tones, model, tmp_path / "of.h5")
    assert [row.path for row in Index(tmp_path / "of.h5").rows()] == NAMES[:2]
    assert [str(error.path) for error in done.unreadable] == [str(tones / "below")] and done.counts["unreadable"] == 1
    unreadable(tones)
    with pytest.raises(EarwitnessError, match=f"{tones}: .*Permission denied"):
        update(tones, model, tmp_path / "of.h5")
