"""The real DAG: one run on the miniature data set serves every test of results, small runs serve the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import JARS, ROOT

HERE = Path(__file__).parent


class Workflow:
    """The DAG in a folder of its own, with the repository's rules."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "config").exists():
            (folder / "config").symlink_to(ROOT / "config")

    def command(self, *arguments: str, configfile: Path | None = None) -> list[str]:
        """The command line of a run on two cores."""
        options = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder), "--cores", "2"]
        options += ["--workflow-profile", str(ROOT / "profiles" / "default")]
        if configfile:
            options += ["--configfile", str(configfile)]
        return [sys.executable, "-m", "snakemake", *arguments, *options]  # --configfile takes all that follows it

    def start(self, *arguments: str, configfile: Path | None = None) -> subprocess.Popen:
        """Start a run in a process group of its own."""
        command = self.command(*arguments, configfile=configfile)
        return subprocess.Popen(
            command, cwd=ROOT, env=environment(), text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *arguments: str, configfile: Path | None = None, fails: bool = False) -> str:
        """Run to the end and return what was printed; the exit code must be as expected."""
        command = self.command(*arguments, configfile=configfile)
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
        printed = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, printed[-6000:]
        return printed

    def copy(self, folder: Path) -> Workflow:
        """The same state in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workflow(folder)

    def __truediv__(self, path: str) -> Path:
        return self.folder / path


def environment() -> dict[str, str]:
    """As it is, without what would send runs to somebody's tracking server, with SPICE's jars where they are."""
    inherited = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return inherited | ({"EARWITNESS_SPICE_JARS": str(JARS)} if JARS.is_dir() else {})


@pytest.fixture(scope="session")
def mini(tmp_path_factory) -> Workflow:
    """`make demo`'s results, made anew."""
    workflow = Workflow(tmp_path_factory.mktemp("mini"))
    workflow.run("results/mini/comparison.html")
    return workflow


@pytest.fixture(scope="session")
def tiny_config() -> Path:
    """A preset of seconds."""
    return HERE / "tiny.yaml"


@pytest.fixture(scope="session")
def tiny_ready(tmp_path_factory, tiny_config) -> Workflow:
    """The tiny data set up to where training starts."""
    workflow = Workflow(tmp_path_factory.mktemp("tiny"))
    inputs = [f"results/tiny/features/logmel-cl4ac/{split}.h5" for split in ("development", "validation", "evaluation")]
    workflow.run(*inputs, "results/tiny/text/cl4ac/word2vec.bin", configfile=tiny_config)
    return workflow
