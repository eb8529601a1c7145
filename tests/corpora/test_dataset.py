"""A data set's entry and its folder: whose it is, what its corpus is read from."""

import subprocess
import sys

import pytest

from earwitness.config import validated
from earwitness.corpora.dataset import Dataset
from earwitness.errors import CorpusError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dataset(**options):
    return Dataset("mine", validated("datasets", {"layout": "clotho", "audio": "data", **options}))


def put(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_user_s_own_folder_is_read_from_its_tables_lists_and_metadata(here):
    table = put(here / "data" / "clotho_captions_evaluation.csv")
    split_list = put(here / "resources" / "splits" / "clotho_mine_validation.txt")
    mine = dataset(source="clotho-2.1", split_scheme="mine", metadata=["where.csv"])
    assert (mine.fetched, mine.to_be_fetched, mine.record) == (False, False, None)
    assert [path.resolve() for path in mine.inputs()] == [table, split_list, here / "where.csv"]


def test_a_folder_without_tables_is_fetched_where_it_has_a_source(here):
    mine = dataset(source="clotho-2.1")
    assert mine.fetched and mine.to_be_fetched and mine.record.name == "clotho-2.1"
    assert [str(path) for path in mine.inputs()] == ["data/fetched.json"]
    assert mine.state() == "fetched"
    assert not dataset().fetched


def test_a_corpus_is_obtainable_where_nothing_has_to_be_fetched_first(here):
    options = {"source": "clotho-2.1"}
    assert not dataset().obtainable and not dataset(**options).obtainable
    put(here / "data" / ".fetched" / "clotho_captions_evaluation.csv.json", "{}")  # begun
    assert dataset().obtainable and not dataset(**options).obtainable
    put(here / "data" / "fetched.json", "{}")
    assert dataset(**options).obtainable


@pytest.mark.parametrize("sign", ["fetched.json", ".fetched/clotho_captions_evaluation.csv.json"])
def test_what_was_fetched_or_begun_stays_fetched(here, sign):
    put(here / "data" / "clotho_captions_evaluation.csv")
    put(here / "data" / sign, "{}")
    mine = dataset(source="clotho-2.1")
    assert mine.fetched and mine.to_be_fetched == (sign != "fetched.json")


def test_videos_are_fetched_for_the_tables_of_a_user(here):
    table = put(here / "data" / "test.csv", "audiocap_id,youtube_id,start_time,caption\n1,abcdefghijk,0,rain\n")
    mine = dataset(layout="audiocaps", source="youtube")
    assert mine.fetched and mine.record is None
    assert [path.resolve() for path in mine.inputs()] == [here / "data" / "fetched.json", table]
    assert [path.resolve() for path in mine.fetched_for()] == [table]
    assert [clip.clip_id for clip in mine.clips] == ["test/abcdefghijk"]


class Published:
    """A layout whose record holds one table and one recording."""

    def fetch(self, root):
        put(root / "clotho_captions_evaluation.csv", "as published")
        put(root / "evaluation" / "a.wav")
        put(root / "fetched.json", "{}")

    def tables(self, root):
        return sorted(root.glob("*.csv"))


@pytest.mark.parametrize(
    ("change", "source", "noticed"),
    [
        ("data/clotho_captions_evaluation.csv", "clotho-2.1", True),
        ("data/evaluation/a.wav", "clotho-2.1", True),
        ("data/evaluation/new.wav", "clotho-2.1", True),
        ("data/notes.txt", "clotho-2.1", False),
        ("data/evaluation/new.wav", "youtube", True),
        ("data/clotho_captions_evaluation.csv", "youtube", False),  # an input of its own
    ],
)
def test_changes_of_what_was_fetched_are_noticed(here, change, source, noticed):
    layout = "audiocaps" if source == "youtube" else "clotho"

    def mine():
        found = dataset(source=source, layout=layout)
        found.layout = Published()
        return found

    before = mine().state()
    mine().fetch()
    assert mine().state() == before == "fetched"
    put(here / change, "changed by hand")
    assert (mine().state() != "fetched") == noticed


def test_a_fetch_that_brought_nothing_leaves_the_folder_the_user_s(here):
    put(here / "data" / ".fetched" / ".record.json")
    put(here / "data" / "clotho_captions_evaluation.csv")
    assert not dataset(source="clotho-2.1").fetched


def test_a_root_that_leads_upwards_is_told_as_it_is(here):
    assert dataset(audio="x/../data").root == here / "data"


def test_a_synthesised_data_set_is_read_from_what_was_made():
    mini = Dataset("mini", validated("datasets", {"layout": "mini"}))
    assert mini.synthesised and mini.obtainable and not mini.fetched
    assert [str(path) for path in mini.inputs()] == ["results/mini/audio"]
    assert mini.state() == "synthesised"


def test_the_state_of_a_users_recordings_is_theirs(here):
    put(here / "data" / "clotho_captions_evaluation.csv")
    before = dataset().state()
    put(here / "data" / "evaluation" / "a.wav")
    assert dataset().state() != before


def test_absent_lists_of_a_scheme_are_told(here):
    put(here / "data" / "clotho_captions_evaluation.csv")
    with pytest.raises(CorpusError, match=r"resources/splits/clotho_mine_validation\.txt"):
        dataset(split_scheme="mine").inputs()


def test_it_is_light_to_import_and_to_ask(here):
    put(here / "data" / "test.csv")
    code = """
import sys
from earwitness.config import validated
from earwitness.corpora.dataset import Dataset
for layout in ("clotho", "audiocaps", "audiogrounding", "folder"):
    Dataset("mine", validated("datasets", {"layout": layout, "audio": "data"})).inputs()
print(*{"torch", "pandas", "pyarrow", "soundfile", "requests", "librosa"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.split()
