"""Feature files: what is written is read back, and a file made otherwise is refused by name."""

import multiprocessing
import pickle

import h5py
import numpy as np
import pytest

from earwitness import features
from earwitness.errors import EarwitnessError, MismatchError
from earwitness.features.store import FeatureStore, write

MADE = {
    "schema": 1,
    "made_by": "logmel",
    "settings": {"hop": 512, "weights": "none"},
    "inputs": {"audio": "abc"},
    "code": "1.0+x",
}
CLIPS = {" a": np.arange(6, dtype=np.float32).reshape(3, 2), "é": np.zeros((0, 2), np.float32), "c": np.ones((1, 2))}


@pytest.fixture(params=[None, 4], ids=["growing", "contiguous"])
def path(tmp_path, request):
    write(tmp_path / "f.h5", CLIPS.items(), 2, MADE, total=request.param)
    return tmp_path / "f.h5"


def test_frames_there_and_back(path):
    with FeatureStore(path) as store:
        assert store.clip_ids == list(CLIPS) and len(store) == 3
        assert (store.total, store.dimension, store.frames_per_clip) == (4, 2, None)
        for clip_id, frames in CLIPS.items():
            assert store[clip_id].dtype == np.float32
            assert store[clip_id].tolist() == frames.tolist()


def test_read_gives_the_frames_by_clip(tmp_path, path):
    with features.read(path) as found:
        assert list(found) == list(CLIPS) and " a" in found and "b" not in found
        assert {name: frames.tolist() for name, frames in found.items()} == {n: f.tolist() for n, f in CLIPS.items()}
    assert found == found and found != features.read(path) and len({found}) == 1
    with pytest.raises(MismatchError, match=r"f\.h5 .*'  a'.*; ' a' is"):
        features.read(path)["  a"]
    with pytest.raises(EarwitnessError, match=r"f\.h5"):
        features.read(tmp_path)
    with pytest.raises(EarwitnessError, match=r"absent\.h5"):
        features.read(tmp_path / "absent.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a.wav"] = np.ones((2, 3))
    with pytest.raises(EarwitnessError, match=r"other\.h5 .*clip_ids"):
        features.read(tmp_path / "other.h5")


def test_clips_are_filled_up_when_they_are_read(tmp_path):
    write(tmp_path / "f.h5", CLIPS.items(), 2, MADE, fill=-100.0, frames_per_clip=3)
    with FeatureStore(tmp_path / "f.h5") as store:
        assert store[" a"].tolist() == CLIPS[" a"].tolist()
        assert store["é"].tolist() == [[-100, -100]] * 3
        assert store["c"].tolist() == [[1, 1], [-100, -100], [-100, -100]]
        assert store.stored("c").tolist() == [[1, 1]]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_batch_is_padded_to_its_longest_clip(tmp_path, dtype):
    write(tmp_path / "f.h5", CLIPS.items(), 2, MADE, fill=-100.0, dtype=dtype)
    with FeatureStore(tmp_path / "f.h5") as store:
        frames, lengths = store.batch(["c", " a", "é", "c"])
        assert (frames.dtype, frames.shape) == (np.float32, (4, 3, 2))
        assert (lengths.dtype, lengths.tolist()) == (np.int64, [1, 3, 0, 1])
        assert frames[:3].tolist() == [[[1, 1], [-100, -100], [-100, -100]], CLIPS[" a"].tolist(), [[-100, -100]] * 3]
        assert store.batch(["é", "c"])[0].tolist() == [[[-100, -100]], [[1, 1]]]
        assert store.batch(["é"])[0].shape == (1, 0, 2) and store.batch([])[0].shape == (0, 0, 2)
        with pytest.raises(MismatchError, match=r"f\.h5 .* 'b'"):
            store.batch(["c", "b"])


def test_clips_of_a_batch_are_as_long_as_the_file_says(tmp_path):
    write(tmp_path / "f.h5", CLIPS.items(), 2, MADE, fill=-100.0, frames_per_clip=3)
    with FeatureStore(tmp_path / "f.h5") as store:
        frames, lengths = store.batch(["é", "c"])
        assert lengths.tolist() == [3, 3]
        assert frames.tolist() == [store["é"].tolist(), store["c"].tolist()]


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ({"schema": 2}, "schema: the file has 1, 2 is needed"),
        ({"made_by": "vggish"}, "made_by: the file has 'logmel', 'vggish' is needed"),
        ({"settings": {"hop": 320}}, "settings.hop: the file has 512, 320 is needed"),
        ({"settings": {"weights": "abc"}}, "settings.weights: the file has 'none', 'abc' is needed"),
        ({"inputs": {"audio": "xyz"}}, "inputs.audio: the file has 'abc', 'xyz' is needed"),
    ],
)
def test_a_file_made_otherwise_is_refused_by_name(path, expected, answer):
    with pytest.raises(MismatchError, match=r"f\.h5") as caught:
        FeatureStore(path, expected)
    assert answer in str(caught.value)


def test_a_file_made_as_needed_is_read_whatever_code_made_it(path):
    assert FeatureStore(path, MADE | {"code": "2.0+y"}).total == 4


def test_files_that_go_together_agree_in_what_made_them(tmp_path):
    def store(name, **changes):
        write(tmp_path / name, CLIPS.items(), 2, MADE | changes)
        return FeatureStore(tmp_path / name)

    known = {"audio": "abc", "weights": "123"}
    one = store("one.h5", made_by="panns_cnn14", inputs=known)
    assert one.front_end == {"made_by": "panns_cnn14", "settings": MADE["settings"], "inputs": {"weights": "123"}}
    other = store("other.h5", made_by="panns_cnn14", inputs=known | {"weights": "456"})
    with pytest.raises(MismatchError, match=r"other\.h5.*inputs\.weights.*'456'.*'123'"):
        FeatureStore(other.path, one.front_end)
    assert store("far.h5", made_by="external", inputs={"audio": "abc", "train": "789"}).front_end["inputs"] == {}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_values_that_are_not_finite_are_not_written(tmp_path, value, dtype):
    clips = {"a": np.ones((2, 2)), "b": np.array([[1, value]]), "c": np.ones((1, 2)), "d": np.full((3, 2), value)}
    with pytest.raises(EarwitnessError, match=r"2 of 4 clips(.|\n)*- b holds(.|\n)*- d holds") as caught:
        write(tmp_path / "f.h5", clips.items(), 2, MADE, dtype=dtype)
    assert "- a" not in str(caught.value) and not list(tmp_path.iterdir())


def test_all_clips_beyond_half_precision_are_named(tmp_path):
    clips = {"a": np.full((1, 2), 7e4), "b": np.ones((1, 2)), "c": np.full((1, 2), -9e4)}
    with pytest.raises(EarwitnessError, match=r"- a holds 70000, .*65504(.|\n)*- c holds 90000, "):
        write(tmp_path / "f.h5", clips.items(), 2, MADE, dtype="float16")


@pytest.mark.parametrize("read", [lambda store: store["b"], lambda store: store.batch(["a", "c"])])
def test_values_that_are_not_finite_are_not_read(tmp_path, read):
    """Of a file that something else made; all clips with such values are named, whichever is read."""
    clips = {"a": np.ones((2, 2)), "b": np.ones((1, 2)), "c": np.ones((3, 2))}
    write(tmp_path / "f.h5", clips.items(), 2, MADE)
    with h5py.File(tmp_path / "f.h5", "a") as file:
        file["frames"][2, 1], file["frames"][4, 0] = np.nan, np.inf
    with FeatureStore(tmp_path / "f.h5") as store:
        assert store["a"].tolist() == [[1, 1], [1, 1]]
        with pytest.raises(EarwitnessError, match=r"f\.h5 .* 2 of 3 clips:\n  - b\n  - c\n"):
            read(store)


def test_an_unknown_clip_is_named(path):
    with FeatureStore(path) as store, pytest.raises(MismatchError, match=r"f\.h5 has no features of the clip 'b'"):
        store["b"]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "f.h5").write_bytes(b"no HDF5")
    with pytest.raises(EarwitnessError, match=r"f\.h5 cannot be read as HDF5"):
        FeatureStore(tmp_path / "f.h5")


def test_a_failed_write_leaves_nothing(tmp_path):
    def clips():
        yield "a", np.zeros((1, 2))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(tmp_path / "f.h5", clips(), 2, MADE)
    assert not list(tmp_path.iterdir())


def read(store, queue):
    queue.put(store[" a"].tolist())


def test_an_open_store_can_be_handed_to_another_process(path):
    with FeatureStore(path) as store:
        assert store["c"].tolist() == [[1, 1]]  # opens the file here
        assert pickle.loads(pickle.dumps(store))[" a"].tolist() == CLIPS[" a"].tolist()  # noqa: S301
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=read, args=(store, queue))
        process.start()
        assert queue.get(timeout=30) == CLIPS[" a"].tolist()
        process.join()
