"""The validated configuration, and the few helpers that rules share."""

from pathlib import Path

from snakemake.exceptions import WorkflowError

from earwitness.config import Config
from earwitness.corpora.state import audio_state
from earwitness.errors import EarwitnessError
from earwitness.files import checkpoint_digests
from earwitness.options import NOT_TRAINED, SPLITS
from earwitness.registry import LAYOUTS, load as load_registered
from earwitness.tracking.publish import store_uri


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
    return str(Path(CONFIG.datasets[wildcards.dataset].audio).expanduser())


def corpus_inputs(wildcards):
    """What the corpus is read from: the synthesised audio, or the tables that lie in a user's folder."""
    root = audio_root(wildcards)
    if synthesised(wildcards.dataset):
        return root
    options = CONFIG.datasets[wildcards.dataset]
    return [str(path) for path in load_registered(LAYOUTS[options.layout].implementation)(options).tables(Path(root))]


def corpus_audio(wildcards):
    """The state of a user's recordings, so that a changed one is noticed."""
    return "synthesised" if synthesised(wildcards.dataset) else audio_state(Path(audio_root(wildcards)))


def experiment(wildcards):
    return CONFIG.experiment(wildcards.dataset, wildcards.experiment)


def below(dataset, files):
    """Named inputs below a data set's results."""
    return {name: f"results/{dataset}/{path}" for name, path in files.items()}


def seed_folders(wildcards):
    """The folders of an experiment's seeds."""
    folder = f"results/{wildcards.dataset}/{wildcards.experiment}"
    return [f"{folder}/seed-{seed}" for seed in experiment(wildcards).seeds]
