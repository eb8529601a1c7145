"""What counts as a recording by its name, without anything that reads one."""

import subprocess
import sys

import pytest

from earwitness.audio.formats import FORMATS, is_audio


@pytest.mark.parametrize("suffix", [*FORMATS, ".WAV", ".M4a", ".Opus"])
def test_recordings(suffix):
    assert is_audio(f"a{suffix}") and is_audio(f"part/a b{suffix}")
    assert not is_audio(suffix) and not is_audio(f"part/._a{suffix}")


@pytest.mark.parametrize("name", ["a.aac", "a.txt", "wav", "a.wav.part", "a.wav/b", ""])
def test_others(name):
    assert not is_audio(name)


def test_is_cheap_to_import():
    code = "import sys, earwitness.audio.formats; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "soundfile", "av"} & set(done.stdout.split())


def test_pyav_is_imported_only_for_what_needs_it():
    code = "import sys, earwitness.audio.check; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "av" not in done.stdout.split()
