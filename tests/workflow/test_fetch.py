"""A data set that has a source is fetched by the DAG; a folder of the user's own is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earwitness.files import read_json
from tests.workflow.conftest import Workflow
from tests.workflow.test_messages import configured, small_corpus

pytestmark = pytest.mark.workflow

LABELS = [
    {
        "audiocap_id": 1,
        "audio_id": "YabcdefghijK.wav",
        "tokens": "a dog barks , then rain",
        "phrases": [{"phrase": "a dog barks", "start_index": 0, "end_index": 2, "segments": [[0.1, 0.4]]}],
    }
]


@pytest.fixture
def workflow(tmp_path) -> Workflow:
    return Workflow(tmp_path / "run")


def published(folder: Path) -> Path:
    """AudioGrounding v2 in miniature, as its record might hold it: labels, and an archive of audio."""
    folder.mkdir()
    for name in ("train", "val", "test"):
        (folder / f"{name}.json").write_text(json.dumps(LABELS), encoding="utf-8")
    soundfile.write(folder / "YabcdefghijK.wav", 0.1 * np.sin(np.arange(8000)), 8000)
    with zipfile.ZipFile(folder / "audio.zip", "w") as archive:
        archive.write(folder / "YabcdefghijK.wav", "audio/YabcdefghijK.wav")
    (folder / "YabcdefghijK.wav").unlink()
    return folder


def test_a_record_is_fetched_once_and_its_digests_are_held(workflow, tmp_path):
    mirror = published(tmp_path / "mirror")
    entry = {"layout": "audiogrounding", "audio": "resources/grounding", "source": "audiogrounding-2"}
    config = configured(tmp_path / "c.yaml", datasets={"grounding": {**entry, "mirror": str(mirror)}})
    target = "results/grounding/corpus/report.json"
    workflow.run(target, configfile=config)
    report = read_json(workflow / target)
    assert {split: counts["found"] for split, counts in report["clips"].items()} == dict.fromkeys(report["clips"], 1)
    assert report["phrases"]["evaluation"] == {"phrases": 1, "without_event": 0, "events": 1}
    fetched = read_json(workflow / "resources/grounding/fetched.json")
    assert {file["name"]: file["verified"] for file in fetched["files"]} == dict.fromkeys(
        ("audio.zip", "test.json", "train.json", "val.json"), False
    )
    assert "Nothing to be done" in workflow.run(target, configfile=config)

    (mirror / "val.json").write_text(json.dumps(LABELS * 2), encoding="utf-8")
    shutil.rmtree(workflow / "resources/grounding")
    shutil.rmtree(workflow / "results/grounding")
    printed = workflow.run(target, configfile=config, fails=True)
    assert "'audiogrounding-2/val.json'" in printed
    assert "Traceback" not in printed


def test_a_wrong_download_is_refused(workflow, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "clotho_audio_development.7z").write_bytes(b"not what was published")
    entry = {"layout": "clotho", "audio": "resources/clotho", "source": "clotho-2.1", "mirror": str(mirror)}
    config = configured(tmp_path / "c.yaml", datasets={"clotho": entry})
    printed = workflow.run("results/clotho/corpus/report.json", configfile=config, fails=True)
    assert "c8b05bc7acdb13895bb3c6a29608667e" in printed and "clotho_audio_development.7z" in printed
    assert hashlib.md5(b"not what was published").hexdigest() in printed
    assert "Traceback" not in printed and not (workflow / "resources/clotho/fetched.json").exists()


def test_a_folder_of_the_users_own_is_not_fetched(workflow, tmp_path):
    root = small_corpus(workflow / "resources/clotho")
    config = configured(
        tmp_path / "c.yaml",
        datasets={"clotho": {"layout": "clotho", "audio": "resources/clotho", "source": "clotho-2.1"}},
    )
    workflow.run("results/clotho/corpus/report.json", configfile=config)
    report = read_json(workflow / "results/clotho/corpus/report.json")
    assert list(report["notes"]["differs_from_published"]) == ["clotho_captions_evaluation.csv"]
    assert not (root / "fetched.json").exists()


def test_two_entries_share_what_is_fetched(workflow, tmp_path):
    mirror = published(tmp_path / "mirror")
    entry = {"layout": "audiogrounding", "audio": "resources/grounding", "source": "audiogrounding-2"}
    lists = workflow / "resources/splits"
    lists.mkdir(parents=True)
    (lists / "audiogrounding_mine_validation.txt").write_text("train/YabcdefghijK.wav\n")
    again = {**entry, "mirror": str(mirror), "split_scheme": "mine"}
    config = configured(tmp_path / "c.yaml", datasets={"a": entry, "b": again})
    targets = [f"results/{name}/corpus/report.json" for name in "ab"]
    printed = workflow.run(*targets, configfile=config)
    assert printed.count("Finished jobid") == 3  # one fetch, two corpora
    splits = [list(read_json(workflow / target)["clips"]) for target in targets]
    assert splits == [["development", "validation", "evaluation"], ["validation", "evaluation"]]
    other = configured(tmp_path / "d.yaml", datasets={"0": {**entry, "audio": "./resources/grounding"}, "a": entry})
    assert "Nothing to be done" in workflow.run(*targets[:1], configfile=other)
    with (workflow / "resources/grounding/val.json").open("a") as labels:
        labels.write("\n")
    assert "1 of 1 steps" in workflow.run(*targets[:1], configfile=config)


YT_DLP = """\
#!{python}
import sys, wave
place = sys.argv[sys.argv.index("--output") + 1].replace("%(ext)s", "wav")
with wave.open(place, "wb") as file:
    file.setparams((1, 2, 8000, 0, "NONE", ""))
    file.writeframes(bytes([len(sys.argv) % 256, 1]) * 8000)
"""


def test_videos_are_fetched_for_the_rows_that_lack_them(workflow, tmp_path, monkeypatch):
    for name, text in (("yt-dlp", YT_DLP.format(python=sys.executable)), ("ffmpeg", "#!/bin/sh\n")):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    table = workflow / "resources/audiocaps/test.csv"
    table.parent.mkdir(parents=True)
    rows = ["audiocap_id,youtube_id,start_time,caption", "1,abcdefghijk,10,Rain falls", "2,bcdefghijkl,20,Wind blows"]
    table.write_text("\n".join(rows) + "\n")
    entry = {"layout": "audiocaps", "audio": "resources/audiocaps", "source": "youtube"}
    config = configured(tmp_path / "c.yaml", datasets={"videos": entry})
    target = "results/videos/corpus/report.json"
    workflow.run(target, configfile=config)
    assert read_json(workflow / target)["clips"]["evaluation"]["found"] == 2
    assert "Nothing to be done" in workflow.run(target, configfile=config)
    table.write_text("\n".join([*rows, "3,cdefghijklm,30,A dog barks"]) + "\n")
    workflow.run(target, configfile=config)
    assert read_json(workflow / target)["clips"]["evaluation"]["found"] == 3
    assert len(list(table.parent.rglob("*.wav"))) == 3


def test_two_entries_read_one_folder_and_differ_in_splits(workflow, tmp_path):
    root = small_corpus(tmp_path / "own")
    entry = {"layout": "clotho", "audio": str(root)}
    config = configured(tmp_path / "c.yaml", datasets={"a": entry, "b": {**entry, "split_scheme": "mine"}})
    target = "results/b/corpus/report.json"
    printed = workflow.run(target, configfile=config, fails=True)
    assert "resources/splits/clotho_mine_validation.txt" in printed
    lists = workflow / "resources/splits"
    lists.mkdir(parents=True)
    (lists / "clotho_mine_validation.txt").write_text("a.wav\n")
    workflow.run("results/a/corpus/report.json", target, configfile=config)
    assert set(read_json(workflow / "results/a/corpus/report.json")["clips"]) == {"evaluation"}
    assert set(read_json(workflow / target)["clips"]) == {"validation", "evaluation"}
    (lists / "clotho_mine_validation.txt").write_text("b.wav\n")
    workflow.run(target, configfile=config)
    ids = (workflow / "results/b/corpus/clips.csv").read_text().splitlines()[1:]
    assert [line.split(",")[:2] for line in ids] == [
        ["a.wav", "evaluation"],
        ["b.wav", "validation"],
    ]
