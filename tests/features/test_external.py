"""Features of the literature's layout: found by any of its keys, refused with all offenders, and written so again."""

import hashlib
import json

import h5py
import numpy as np
import pandas as pd
import pytest

from earwitness.corpora.tables import CLIPS, SOURCES, audio_digest, clips_of, write_table
from earwitness.errors import CorpusError, EarwitnessError
from earwitness.features.external import KINDS, Clip, export_features, import_features
from earwitness.features.external_options import ExternalOptions
from earwitness.features.store import FeatureStore, write
from earwitness.files import sha256

NAMES = ["Rain on roof.wav", "dog.barking.wav", "sub/bell.ogg"]  # of each split
FRAMES = 4


def frames_of(number):
    return np.random.default_rng(number).normal(size=(FRAMES + number, 3)).astype(np.float32)


@pytest.fixture
def corpus(tmp_path):
    """Three clips in each split, the evaluation clips with YouTube ids."""
    rows = []
    for split in ("development", "validation", "evaluation"):
        for name in NAMES:
            path = f"{split}/{name}".replace(" ", "_")
            rows.append(
                [f"{split}/{name}", split, path, "name", 1.0, 8000, 1, hashlib.sha256(name.encode()).hexdigest()]
            )
    write_table(tmp_path / "corpus/clips.csv", pd.DataFrame(rows, columns=CLIPS))
    videos = [[f"evaluation/{name}", "youtube", f"video-{number}"] for number, name in enumerate(NAMES)]
    write_table(tmp_path / "corpus/sources.csv", pd.DataFrame(videos, columns=SOURCES))
    return tmp_path / "corpus"


def given(folder, keys, part="test", arrays=None):
    """A file of the layout, with a data set under each key."""
    path = folder / "AudioExpert" / "thing" / part / "thing.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        for number, key in enumerate(keys):
            file.create_dataset(key, data=frames_of(number) if arrays is None else arrays[number], compression="gzip")
    return path


def options(folder, **changes):
    return ExternalOptions(extractor="external", folder=str(folder / "AudioExpert/thing"), **changes)


def imported(corpus, folder, split="evaluation", **changes):
    out = folder / "features" / f"{split}.h5"
    import_features(options(folder, **changes), corpus, split, out)
    return FeatureStore(out)


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


KEYS = {
    "stem": ["Rain on roof", "dog.barking", "bell"],
    "file_name": ["Rain on roof.wav", "dog.barking.wav", "bell.ogg"],
    "youtube_id": ["video-0", "video-1", "video-2"],
    "md5": [md5("eval_Rain on roof"), md5("eval_dog.barking"), md5("eval_bell")],
}
OTHERS = {
    "stem": ["Rain_on_roof", "dog.barking", "bell"],  # as files are called
    "md5": [md5("evaluation_Rain on roof"), md5("evaluation_dog.barking"), md5("evaluation_bell")],
}


@pytest.mark.parametrize(("kind", "keys"), [*KEYS.items(), *OTHERS.items()])
def test_keys_are_detected(corpus, tmp_path, kind, keys):
    path = given(tmp_path, keys)
    with imported(corpus, tmp_path) as store:
        assert store.clip_ids == [f"evaluation/{name}" for name in NAMES] and store.dimension == 3
        for number, clip_id in enumerate(store.clip_ids):
            np.testing.assert_array_equal(store[clip_id], frames_of(number))
        assert store.provenance["made_by"] == "external" and store.provenance["keys"] == kind
        clips = clips_of(corpus / "clips.csv", "evaluation", "the test")
        assert store.provenance["inputs"] == {"audio": audio_digest(clips), "test": sha256(path)}
        assert store.provenance["settings"] == {"name": "thing", "storage": "float32"}
    with imported(corpus, tmp_path, keys=kind) as named:
        assert named.total == sum(FRAMES + number for number in range(3))


def test_clips_without_features_are_listed(corpus, tmp_path):
    given(tmp_path, [*KEYS["stem"][:1], "other"])
    with pytest.raises(CorpusError) as caught:
        imported(corpus, tmp_path)
    message = str(caught.value)
    assert "2 of 3 clips" in message and "stem" in message and NAMES[0] not in message
    assert "- evaluation/dog.barking.wav\n" in message and "- evaluation/sub/bell.ogg\n" in message
    assert message.endswith(": other.")
    assert not (tmp_path / "features").exists()


def test_keys_of_no_clip_are_listed_and_counted(corpus, tmp_path, capsys):
    given(tmp_path, [*KEYS["stem"], "cat", "ant"])
    with imported(corpus, tmp_path) as store:
        assert store.provenance["counts"] == {"clips": 3, "keys_without_a_clip": 2}
    message = capsys.readouterr().err
    assert "2 keys in" in message and "- ant\n" in message and "- cat" in message


def test_clips_that_share_a_key_are_refused(corpus, tmp_path):
    videos = [[f"evaluation/{name}", "youtube", "one"] for name in NAMES]
    write_table(corpus / "sources.csv", pd.DataFrame(videos, columns=SOURCES))
    given(tmp_path, ["one"])
    with pytest.raises(CorpusError, match=r"share a key \(youtube_id\)(.|\n)*Rain on roof\.wav: one\n(.|\n)*bell"):
        imported(corpus, tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4), np.float32), r"dog\.barking\.wav: shape \[2, 4\], \[frames, 3\]"),
        (np.zeros((0, 3), np.float32), r"dog\.barking\.wav: shape \[0, 3\]"),
        (np.zeros((2, 2, 3), np.float32), r"shape \[2, 2, 3\]"),
        (np.array([b"text"] * 3), r"dog\.barking\.wav: .*array of numbers"),
        (np.full((2, 3), np.nan, np.float32), r"not finite:\n  - evaluation/dog\.barking\.wav"),
    ],
)
def test_features_that_cannot_be_used_are_named(corpus, tmp_path, array, message):
    given(tmp_path, KEYS["stem"], arrays=[frames_of(0), array, frames_of(2)])
    with pytest.raises(EarwitnessError, match=message):
        imported(corpus, tmp_path)
    assert not list((tmp_path / "features").glob("*"))


def test_a_single_frame_may_have_lost_its_axis(corpus, tmp_path):
    given(tmp_path, KEYS["stem"], arrays=[frames_of(0)[0], frames_of(1), frames_of(2)])
    with imported(corpus, tmp_path) as store:
        np.testing.assert_array_equal(store[store.clip_ids[0]], frames_of(0)[:1])


def test_half_precision_is_kept_in_its_range(corpus, tmp_path):
    given(tmp_path, KEYS["stem"])
    with imported(corpus, tmp_path, storage="float16") as store, h5py.File(store.path) as file:
        assert file["frames"].dtype == np.float16
        np.testing.assert_allclose(store[store.clip_ids[0]], frames_of(0), rtol=1e-3)
    (tmp_path / "AudioExpert/thing/test/thing.h5").unlink()
    (tmp_path / "AudioExpert/thing/test").rmdir()
    given(tmp_path, KEYS["stem"], arrays=[frames_of(0), frames_of(1) * 1e6, frames_of(2)])
    with pytest.raises(EarwitnessError, match=r"dog\.barking\.wav holds .* 65504.*`storage: float32`"):
        imported(corpus, tmp_path, storage="float16")


@pytest.fixture
def moved(corpus):
    """A validation clip that a scheme moved to evaluation, where another has its stem."""
    table = pd.read_csv(corpus / "clips.csv")
    table.loc[table["clip_id"] == "validation/sub/bell.ogg", "split"] = "evaluation"
    write_table(corpus / "clips.csv", table)
    return "validation/sub/bell.ogg"


def test_clips_that_a_scheme_moved_are_found_in_the_file_of_their_own_split(corpus, tmp_path, moved):
    given(tmp_path, KEYS["md5"])
    given(tmp_path, [md5("val_bell")], "val", [frames_of(9)])
    with imported(corpus, tmp_path) as store:
        np.testing.assert_array_equal(store[moved], frames_of(9))
        np.testing.assert_array_equal(store["evaluation/sub/bell.ogg"], frames_of(2))
        assert store.provenance["inputs"].keys() == {"audio", "test", "val"}


def test_files_may_have_been_made_with_the_scheme(corpus, tmp_path, moved):
    given(tmp_path, [*KEYS["md5"], md5("val_bell")])
    with imported(corpus, tmp_path) as store:
        np.testing.assert_array_equal(store[moved], frames_of(3))


def test_clips_that_a_scheme_moved_are_never_taken_for_others(corpus, tmp_path, moved):
    given(tmp_path, KEYS["stem"])
    with pytest.raises(CorpusError, match=r"share a key \(stem\)(.|\n)*validation/sub/bell\.ogg: bell"):
        imported(corpus, tmp_path)
    given(tmp_path, ["bell"], "val", [frames_of(9)])
    with pytest.raises(CorpusError, match=r"both splits of .*:\n  - validation/sub/bell\.ogg: bell\n.*md5"):
        imported(corpus, tmp_path)


def test_files_that_are_not_there_or_no_hdf5_are_named(corpus, tmp_path):
    with pytest.raises(EarwitnessError, match=r"AudioExpert/thing.*:\n(.|\n)*thing/train/thing\.h5"):
        imported(corpus, tmp_path)
    path = given(tmp_path, KEYS["stem"])
    path.write_bytes(b"text")
    with pytest.raises(EarwitnessError, match=r"thing\.h5 cannot be read as HDF5"):
        imported(corpus, tmp_path)
    path.rename(path.with_name("other.h5"))
    assert list(options(tmp_path, file="other").files()) == ["test"]


# --- export -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def features(corpus, tmp_path):
    """Feature files of two splits, as the DAG has them."""
    for split in ("development", "evaluation"):
        clips = clips_of(corpus / "clips.csv", split, "the test")
        made = {"schema": 1, "made_by": "panns_cnn14", "settings": {}, "inputs": {"audio": audio_digest(clips)}}
        pairs = zip(clips["clip_id"], map(frames_of, range(3)), strict=True)
        write(tmp_path / f"features/cnn14/{split}.h5", pairs, 3, made)
    return tmp_path / "features/cnn14"


def exported(features, corpus, to, **choices):
    files = export_features(features, corpus, to, **choices)
    assert [path.relative_to(to / "AudioExpert/panns_cnn14").as_posix() for path in files] == [
        "train/panns_cnn14.h5",
        "test/panns_cnn14.h5",
    ]
    with h5py.File(files[1]) as file:
        assert json.loads(file.attrs["provenance"])["made_by"] == "panns_cnn14"
        return {key: file[key][:] for key in file}


@pytest.mark.parametrize("kind", ["auto", "stem", "file_name", "md5"])
def test_features_are_written_under_the_keys_that_were_asked_for(features, corpus, tmp_path, kind):
    found = exported(features, corpus, tmp_path / "out", keys=kind)
    assert found.keys() == set(KEYS["stem" if kind == "auto" else kind])
    for number, key in enumerate(KEYS["stem" if kind == "auto" else kind]):
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], frames_of(number))


def test_videos_are_called_by_their_ids(features, corpus, tmp_path):
    with pytest.raises(CorpusError, match=r"have no youtube_id:\n  - development/Rain"):
        export_features(features, corpus, tmp_path / "out", keys="youtube_id")
    assert not (tmp_path / "out").exists()
    (features / "development.h5").unlink()
    (path,) = export_features(features, corpus, tmp_path / "out", name="mine")
    assert path == tmp_path / "out/AudioExpert/mine/test/mine.h5"
    with h5py.File(path) as file:
        assert set(file) == set(KEYS["youtube_id"])


def test_names_without_extension_are_no_file_names(corpus, tmp_path):
    table = pd.read_csv(corpus / "clips.csv")
    table.loc[0, ["clip_id", "path"]] = ["development/abc", "development/Yabc.wav"]  # as AudioCaps' clips are called
    clip = Clip(table.loc[0, "clip_id"], "development", table.loc[0, "path"])
    assert KINDS["file_name"](clip) == ["Yabc.wav"] and KINDS["stem"](clip) == ["abc", "Yabc"]


def test_what_fills_a_clip_up_is_not_exported_and_random_weights_stay_marked(corpus, tmp_path, capsys):
    clips = clips_of(corpus / "clips.csv", "evaluation", "the test")
    made = {
        "schema": 1,
        "made_by": "vggish",
        "settings": {},
        "inputs": {"audio": audio_digest(clips)},
        "untrained": True,
    }
    pairs = zip(clips["clip_id"], map(frames_of, range(3)), strict=True)
    write(tmp_path / "features/mine/evaluation.h5", pairs, 3, made, fill=-1, frames_per_clip=9)
    (path,) = export_features(tmp_path / "features/mine", corpus, tmp_path / "out")
    assert "mine has random weights" in capsys.readouterr().err
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["video-0"][:], frames_of(0))
    back = ExternalOptions(extractor="external", folder=str(tmp_path / "out/AudioExpert/mine"))
    assert back.untrained and not options(tmp_path).untrained
    import_features(back, corpus, "evaluation", tmp_path / "back.h5")
    with FeatureStore(tmp_path / "back.h5") as store:
        assert store.provenance["untrained"] is True


def test_tables_that_do_not_exist_and_names_that_are_paths_are_refused(features, corpus, tmp_path):
    with pytest.raises(EarwitnessError, match=r"--name a/b: "):
        export_features(features, corpus, tmp_path / "out", name="a/b")
    (corpus / "sources.csv").unlink()
    with pytest.raises(EarwitnessError, match=r":\n  - .*sources\.csv"):
        export_features(features, corpus, tmp_path / "out")


def test_what_was_exported_is_imported_again(features, corpus, tmp_path):
    exported(features, corpus, tmp_path / "out", keys="md5")
    back = ExternalOptions(extractor="external", folder=str(tmp_path / "out/AudioExpert/panns_cnn14"))
    for split in ("development", "evaluation"):
        import_features(back, corpus, split, tmp_path / "back.h5")
        with FeatureStore(tmp_path / "back.h5") as store, FeatureStore(features / f"{split}.h5") as first:
            assert store.clip_ids == first.clip_ids
            for clip_id in store.clip_ids:
                np.testing.assert_array_equal(store[clip_id], first[clip_id])


def test_files_made_otherwise_are_not_mixed(features, corpus, tmp_path):
    exported(features, corpus, tmp_path / "out", keys="stem")
    exported(features, corpus, tmp_path / "out", keys="md5")  # the same features again
    (features / "development.h5").unlink()
    clips = clips_of(corpus / "clips.csv", "evaluation", "the test")
    made = {"schema": 1, "made_by": "vggsound", "settings": {}, "inputs": {"audio": audio_digest(clips)}}
    pairs = zip(clips["clip_id"], map(frames_of, range(3)), strict=True)
    write(features / "evaluation.h5", pairs, 3, made)
    with pytest.raises(EarwitnessError, match=r"train/panns_cnn14\.h5(.|\n)*another --name"):
        export_features(features, corpus, tmp_path / "out", name="panns_cnn14")


def test_a_place_that_cannot_be_written_is_named(features, corpus, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(EarwitnessError, match=r"out/AudioExpert/panns_cnn14/train/panns_cnn14\.h5 cannot be written"):
        export_features(features, corpus, tmp_path / "out")


def test_other_keys_are_suggested(corpus, tmp_path):
    given(tmp_path, KEYS["stem"])
    with pytest.raises(CorpusError, match=r"3 of 3 clips .* md5:(.|\n)*`keys: stem` would find 3"):
        imported(corpus, tmp_path, keys="md5")


def test_keys_that_clips_would_share_are_refused(features, corpus, tmp_path):
    table = pd.read_csv(corpus / "clips.csv")
    table.loc[table["clip_id"] == "evaluation/sub/bell.ogg", "clip_id"] = "evaluation/dog.barking.flac"
    write_table(corpus / "clips.csv", table)
    with pytest.raises(CorpusError) as caught:
        export_features(features, corpus, tmp_path / "out", keys="stem")
    assert "evaluation/dog.barking.wav: dog.barking" in str(caught.value)
    assert "evaluation/dog.barking.flac: dog.barking" in str(caught.value)


def test_a_folder_without_features_is_named(corpus, tmp_path):
    with pytest.raises(EarwitnessError, match=r"cnn14 has no feature files"):
        export_features(tmp_path / "cnn14", corpus, tmp_path / "out")
