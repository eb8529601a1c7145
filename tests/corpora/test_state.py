"""The state of a data set's recordings: any change of one is seen, and nothing else."""

import os
import subprocess
import sys

import pytest

from earwitness.corpora.state import audio_state


@pytest.fixture
def root(tmp_path):
    for name in ("development/a.wav", "development/part/b.FLAC", "evaluation/c.mp3"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"sound")
    return tmp_path / "data"


def longer(root):
    with (root / "development" / "part" / "b.FLAC").open("ab") as file:
        file.write(b"more")


def later(root):
    os.utime(root / "evaluation" / "c.mp3", ns=(0, 1))


def gone(root):
    (root / "development" / "a.wav").unlink()


def renamed(root):
    (root / "development" / "a.wav").rename(root / "development" / "A.wav")


def another(root):
    (root / "new.ogg").touch()


@pytest.mark.parametrize("change", [longer, later, gone, renamed, another])
def test_a_change_is_seen(root, change):
    before = audio_state(root)
    assert before == audio_state(root) != ""
    change(root)
    assert audio_state(root) != before


def test_a_change_behind_a_link_is_seen(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.wav").write_bytes(b"sound")
    (root / "development" / "part1").symlink_to(tmp_path / "elsewhere")
    before = audio_state(root)
    (tmp_path / "elsewhere" / "x.wav").write_bytes(b"another")
    assert audio_state(root) != before


def test_other_files_do_not_matter(root):
    before = audio_state(root)
    for name in ("clotho_captions_development.csv", "development/._a.wav", "development/.wav", "notes.txt"):
        (root / name).touch()
    (root / "validation").mkdir()
    assert audio_state(root) == before


def test_no_folder_has_no_state(root):
    assert audio_state(root / "nowhere") == audio_state(root / "evaluation" / "c.mp3") == ""
    assert audio_state(root / "validation") == ""


def test_the_place_of_the_root_does_not_matter(root, tmp_path):
    before = audio_state(root)
    assert audio_state(root.rename(tmp_path / "moved")) == before


def test_a_split_and_a_recording_may_be_links(root, tmp_path):
    before = audio_state(root)
    (root / "development").rename(tmp_path / "elsewhere")
    (root / "development").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "evaluation" / "c.mp3").rename(tmp_path / "c.mp3")
    (root / "evaluation" / "c.mp3").symlink_to(tmp_path / "c.mp3")
    assert audio_state(root) == before
    longer(root)
    assert audio_state(root) != before


def test_circles_and_links_to_nowhere_do_no_harm(root, tmp_path):
    before = audio_state(root)
    (root / "development" / "part" / "again").symlink_to(root, target_is_directory=True)
    (root / "evaluation" / "d.wav").symlink_to(tmp_path / "d.wav")
    (root / "evaluation" / "e.wav").symlink_to("e.wav")
    assert audio_state(root) == before
    (tmp_path / "d.wav").touch()
    assert audio_state(root) != before


def test_it_loads_nothing_heavy():
    code = "import sys, earwitness.corpora.state; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pandas", "numpy", "soundfile", "pydantic", "tqdm"} & set(done.stdout.split())
