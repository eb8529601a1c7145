"""Every feature of a few real recordings through the DAG, and feature files that come from elsewhere and go there."""

from __future__ import annotations

import csv

import h5py
import numpy as np
import pytest
import yaml

from earwitness.cli.main import main
from earwitness.features.store import FeatureStore
from tests.workflow.conftest import HERE, Workflow
from tests.workflow.test_soundscapes import REAL

YAMNET = REAL.parent / "features/CLOTHO/AudioExpert/yamnet"
CLIPS = 6
SHAPES = {  # frames of 10 s, and their dimension
    "lms": (31, 128),
    "vggish-untrained": (10, 128),
    "vggsound-untrained": (32, 512),
    "cnn10-untrained": (62, 512),
    "cnn14-untrained": (31, 2048),
    "efficient-latent-untrained": (32, 1408),
    "yamnet": (20, 1024),
}

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Workflow:
    """All features of six evaluation clips."""
    if not REAL.exists():
        pytest.skip("the real recordings of ../shared/data are not here")
    workflow = Workflow(tmp_path_factory.mktemp("features"))
    names = sorted(path.name for path in (REAL / "evaluation").iterdir())[:CLIPS]
    with (workflow / "few.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["file_name", "caption"], *([name, "a sound"] for name in names)])
    config = yaml.safe_load((HERE / "untrained.yaml").read_text(encoding="utf-8"))
    config["features"]["yamnet"] = {"extractor": "external", "folder": str(YAMNET)}
    own = {"layout": "folder", "audio": str(REAL / "evaluation"), "tables": str(workflow.folder), "table": "few.csv"}
    path = workflow / "few.yaml"
    path.write_text(yaml.safe_dump(config | {"datasets": {"few": own}}), encoding="utf-8")
    workflow.run(*(f"results/few/features/{feature}/evaluation.h5" for feature in SHAPES), configfile=path)
    return workflow


def store_of(workflow, feature):
    return FeatureStore(workflow / f"results/few/features/{feature}/evaluation.h5")


@pytest.mark.parametrize("feature", SHAPES)
def test_features_of_real_recordings(workflow, feature):
    with store_of(workflow, feature) as store:
        assert len(store) == CLIPS
        frames = np.stack([store[clip_id] for clip_id in store.clip_ids])
        assert frames.shape[1:] == SHAPES[feature] and np.isfinite(frames).all()
        assert np.abs(frames - frames.mean(axis=0)).max() > 0.01 * np.abs(frames).max()
        assert store.provenance["untrained"] is feature.endswith("-untrained")


def test_features_from_elsewhere_are_those_of_their_file(workflow):
    with store_of(workflow, "yamnet") as store, h5py.File(YAMNET / "test/yamnet.h5") as file:
        assert store.provenance["made_by"] == "external" and store.provenance["keys"] == "stem"
        assert store.provenance["counts"]["keys_without_a_clip"] == len(file) - CLIPS
        for clip_id in store.clip_ids:
            stem = clip_id.rpartition("/")[2].removesuffix(".ogg")
            np.testing.assert_array_equal(store[clip_id], file[stem][:])


def test_features_go_where_retrieval_code_looks_for_them(workflow, tmp_path, capsys):
    folder = workflow / "results/few/features/cnn14-untrained"
    assert main(["export", str(folder), str(tmp_path / "CLOTHO")]) == 0
    path = tmp_path / "CLOTHO/AudioExpert/cnn14-untrained/test/cnn14-untrained.h5"
    printed = capsys.readouterr()
    assert printed.out.strip() == str(path) and "cnn14-untrained" in printed.err
    with store_of(workflow, "cnn14-untrained") as store, h5py.File(path) as file:
        assert {f"{key}.ogg" for key in file} == set(store.clip_ids)
        assert all(file[key].shape == SHAPES["cnn14-untrained"] for key in file)
