"""A folder with a configuration, in which the doctor is called; nothing in it is asked of the network."""

import copy

import pytest
import yaml

from earwitness.doctor import data, machine, weights
from earwitness.doctor.asked import ask, read_config

ENTRIES = {
    "datasets": {
        "mini": {"layout": "mini", "experiments": ["small"]},
        "clotho": {"layout": "clotho", "audio": "resources/clotho", "source": "clotho-2.1"},
        "own": {"layout": "clotho", "audio": "own"},
        "videos": {"layout": "audiocaps", "audio": "videos", "source": "youtube"},
        "sounds": {"layout": "folder", "audio": "sounds"},
    },
    "features": {"mel": {"extractor": "logmel", "sample_rate": 16000, "hop": 160, "mels": 50, "fmax": 8000}},
    "texts": {"words": {}},
    "experiments": {
        "small": {"system": "cl4ac", "feature": "mel", "text": "words", "train": {"threads": 1}},
        "other": {"system": "cl4ac", "feature": "mel", "text": "words", "seeds": [0, 1], "train": {"threads": 1}},
    },
}


class Repository:
    """The folder that the tests run in, its configuration, and what a check finds in it."""

    def __init__(self, folder):
        self.folder, self.entries = folder, copy.deepcopy(ENTRIES)
        self.write()

    def write(self):
        path = self.folder / "config" / "config.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(self.entries, sort_keys=False), encoding="utf-8")

    def put(self, path, text=""):
        path = self.folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def ask(self, *targets):
        self.write()
        return ask(read_config(), targets)

    def found(self, check, *targets):
        """The findings of a check by mark, each with its advice."""
        found = {"ok": [], "note": [], "FAIL": []}
        for finding in check(self.ask(*(targets or ["mini"]))):
            found[finding.mark].append(f"{finding.what}. {finding.advice}")
        return found


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "HDF5_USE_FILE_LOCKING", "NO_COLOR", "EARWITNESS_SPICE_JARS"):
        monkeypatch.delenv(name, raising=False)
    for module in (data, machine, weights):
        monkeypatch.setattr(module, "unanswered", lambda address: "")
    return Repository(tmp_path)
