"""A public checkpoint is brought by the DAG, and one that the user put there is left alone."""

from __future__ import annotations

import pytest
import torch

from earwitness.extractors.published import published
from earwitness.files import read_json
from tests.workflow.conftest import Workflow
from tests.workflow.test_messages import configured

pytestmark = pytest.mark.workflow

TARGET = "resources/checkpoints/vggish_pca_params-970ea276.pth"
LOOSE = "resources/checkpoints/effb2.pt"


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    return Workflow(tmp_path / "run")


def test_a_checkpoint_without_a_published_digest_is_fetched_checked_and_recorded(workflow, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    config = configured(tmp_path / "c.yaml", checkpoints={"mirror": str(mirror)})
    torch.save({"weight": torch.zeros(3)}, mirror / "effb2.pt")
    printed = workflow.run(LOOSE, configfile=config, fails=True)
    assert "is not the public file `effb2.pt`" in printed and "_conv_head.weight: missing" in printed
    assert "Traceback" not in printed and not (workflow / "resources/digests.json").exists()
    torch.save({name: torch.zeros(shape) for name, shape in published()["effb2.pt"].marks.items()}, mirror / "effb2.pt")
    workflow.run(LOOSE, configfile=config)
    told = read_json(workflow / f"{LOOSE}.json")
    assert told["verified"] is False and told["address"] == str(mirror / "effb2.pt")
    assert read_json(workflow / "resources/digests.json")["checkpoints/effb2.pt"]["sha256"] == told["sha256"]
    (workflow / f"{LOOSE}.json").unlink()
    (mirror / "effb2.pt").unlink()
    workflow.run(f"{LOOSE}.json", configfile=config)
    assert read_json(workflow / f"{LOOSE}.json") | {"address": told["address"]} == told


def test_a_wrong_file_that_the_user_put_there_is_refused_and_kept(workflow):
    path = workflow / TARGET
    path.parent.mkdir(parents=True)
    path.write_bytes(b"<html>")
    printed = workflow.run(f"{TARGET}.json", fails=True)
    assert "one that begins with 970ea276 is expected" in printed and "It is a web page" in printed
    assert "Traceback" not in printed and path.read_bytes() == b"<html>"
