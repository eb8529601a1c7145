"""The validated configuration, and the few helpers that rules share."""

from pathlib import Path

from snakemake.exceptions import WorkflowError

from earwitness.config import Config
from earwitness.errors import EarwitnessError
from earwitness.files import checkpoint_digests
from earwitness.options import SPLITS
from earwitness.registry import LAYOUTS, load as load_registered


def plain(function, *arguments):
    """Call a function of the library; what it refuses ends the run with its message alone."""
    try:
        return function(*arguments)
    except EarwitnessError as error:
        raise WorkflowError(str(error)) from None


CONFIG = plain(Config, config)


wildcard_constraints:
    dataset="|".join(map(re.escape, CONFIG.datasets)),
    feature="|".join(map(re.escape, CONFIG.features)),
    text="|".join(map(re.escape, CONFIG.texts)),
    experiment="|".join(map(re.escape, CONFIG.experiments)),
    split="|".join(SPLITS),
    seed=r"\d+",


def synthesised(dataset):
    """Whether the data set's audio is made by the DAG itself."""
    return load_registered(LAYOUTS[CONFIG.datasets[dataset].layout].implementation).makes_audio


def audio_root(wildcards):
    """The folder that the paths of a data set's clips start from."""
    if synthesised(wildcards.dataset):
        return f"results/{wildcards.dataset}/audio"
    return CONFIG.datasets[wildcards.dataset].audio


def corpus_inputs(wildcards):
    """What the corpus is read from: the synthesised audio, or the tables that lie in a user's folder."""
    root = audio_root(wildcards)
    if synthesised(wildcards.dataset):
        return root
    return sorted(str(path) for path in Path(root).glob("*.csv"))


def experiment(wildcards):
    return CONFIG.experiment(wildcards.dataset, wildcards.experiment)


def below(dataset, files):
    """Named inputs below a data set's results."""
    return {name: f"results/{dataset}/{path}" for name, path in files.items()}


def seed_folders(wildcards):
    """The folders of an experiment's seeds."""
    folder = f"results/{wildcards.dataset}/{wildcards.experiment}"
    return [f"{folder}/seed-{seed}" for seed in experiment(wildcards).seeds]


rule not_configured:
    input:
        lambda w: plain(CONFIG.check_target, f"results/{w.anything}"),
    output:
        "results/{anything}",
    wildcard_constraints:
        anything=CONFIG.unknown_targets(),
