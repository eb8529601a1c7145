"""The validated configuration, and helpers that rules share."""

import json
from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError

from earwitness import registry
from earwitness.config import Config
from earwitness.corpora.dataset import Dataset
from earwitness.errors import EarwitnessError
from earwitness.evaluation.result import refuse_old_results
from earwitness.files import checkpoint_digests, refuse_unwritable
from earwitness.metrics.captions import Tools
from earwitness.options import SPLITS
from earwitness.tracking.store import store_uri


def plain(function, *arguments):
    """Call a function of the library; its errors end the run with the message alone."""
    try:
        return function(*arguments)
    except EarwitnessError as error:
        raise WorkflowError(str(error)) from None


if not Path("config/config.yaml").is_file():
    raise WorkflowError(f"config/config.yaml is not in {Path.cwd()}: --directory needs its own, copied or linked.")
CONFIG = plain(Config, config)
KINDS = {name: registry.kind(name) for name in registry.KINDS}
plain(refuse_old_results, Path("results"))
# Jars and models of caption metrics.
TOOLS = Tools(
    spice=CONFIG.spice.jars,
    spice_cache=CONFIG.spice.cache,
    spice_minutes=CONFIG.spice.minutes,
    similarity=CONFIG.sentence_models.similarity,
    fluency=CONFIG.sentence_models.fluency,
)
TOOLS_JSON = json.dumps(asdict(TOOLS))
DATASETS = {name: Dataset(name, options) for name, options in CONFIG.datasets.items()}


onstart:
    plain(refuse_unwritable, [str(file) for job in workflow.dag.needrun_jobs() for file in job.output])


wildcard_constraints:
    dataset="|".join(map(re.escape, CONFIG.datasets)),
    feature="|".join(map(re.escape, CONFIG.features)),
    text="|".join(map(re.escape, CONFIG.texts)),
    experiment="|".join(map(re.escape, CONFIG.experiments)),
    split="|".join(SPLITS),
    seed=r"\d+",
    kind="|".join(KINDS),


def dataset(wildcards):
    """The data set of a target, and the state of its folder."""
    return DATASETS[wildcards.dataset]


def audio_root(wildcards):
    """The folder that the paths of a data set's clips are relative to."""
    return str(dataset(wildcards).root)


def experiment(wildcards):
    """The options of an experiment on its data set, where they can work."""
    plain(CONFIG.refuse_misfits, wildcards.dataset, wildcards.experiment)
    return CONFIG.experiment(wildcards.dataset, wildcards.experiment)


def found_for_training(wildcards):
    """Digests of checkpoints, and of tools on this machine that select the epoch."""
    return plain(checkpoint_digests, experiment(wildcards).checkpoints()) | experiment(wildcards).found(TOOLS)


def below(dataset, uses):
    """Paths of the files that ``uses`` name, by name."""
    return {name: f"results/{use.path(dataset)}" for name, use in uses.items()}


def tables_of(dataset, kind):
    """The tables of the corpus that scores and baselines of a kind of prediction read."""
    return [f"results/{dataset}/corpus/{name}" for name in (*KINDS[kind].tables, *KINDS[kind].scored_with)]


def seed_folders(wildcards):
    """The folders of an experiment's seeds."""
    folder = f"results/{wildcards.dataset}/{wildcards.experiment}"
    return [f"{folder}/seed-{seed}" for seed in experiment(wildcards).seeds]


def memory(mb):
    """A job's memory in MB: more for every attempt, where failed jobs are tried again (`retries`, on a cluster)."""
    return lambda wildcards, attempt: mb * attempt


def shown(path, caption, subcategory, **labels):
    """An output that `snakemake --report` contains, under its data set."""
    return report(path, caption=f"report/{caption}.rst", category="{dataset}", subcategory=subcategory, labels=labels)
