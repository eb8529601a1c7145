"""Features: one file for each split, made in shards by worker processes, by a retriever or from files; checkpoints."""

from earwitness.extractors.published import published
from earwitness.fetch.checkpoints import FOLDER

CHECKPOINTS = published()


def clips_of(wildcards):
    """The clips of a data set, which must have recordings."""
    plain(CONFIG.refuse_features, wildcards.dataset)
    return f"results/{wildcards.dataset}/corpus/clips.csv"


def weights_of(wildcards):
    """The files of an extractor's weights; for published ones also the records of their download."""
    files = CONFIG.feature(wildcards.dataset, wildcards.feature).checkpoints().values()
    known = [path for path in files if path.parent == FOLDER and path.name in CHECKPOINTS]
    others = [path for path in files if path not in known and path.is_file()]  # the script reports missing ones
    return [str(path) for path in (*others, *known, *(f"{path}.json" for path in known))]


def files_of(wildcards):
    """The existing files of external features; the script reports if there are none."""
    options = CONFIG.feature(wildcards.dataset, wildcards.feature)
    return [str(path) for path in options.places().values() if path.is_file()]


localrules:
    checkpoint,  # compute nodes often have no internet access


rule checkpoint:
    output:
        # Existing files are not removed before the rule runs: a file put there by hand is checked and used.
        file=update("resources/checkpoints/{file}"),
        found=update("resources/checkpoints/{file}.json"),
    log:
        "logs/checkpoints/{file}.log",
    wildcard_constraints:
        file="|".join(map(re.escape, CHECKPOINTS)),
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=2000,
        runtime=240,
        mirror=CONFIG.checkpoints.mirror or "",
    message:
        "Fetching the checkpoint {wildcards.file} ({log})"
    script:
        "../workflow/scripts/checkpoint.py"


COMPUTED = [name for name, entry in CONFIG.features.items() if entry.computed]
EMBEDDED = [name for name, entry in CONFIG.features.items() if entry.made_from()]
IMPORTED = [name for name in CONFIG.features if name not in (*COMPUTED, *EMBEDDED)]


rule features:
    input:
        clips=clips_of,
        weights=weights_of,
    output:
        "results/{dataset}/features/{feature}/{split}.h5",
    log:
        "logs/{dataset}/features/{feature}/{split}.log",
    benchmark:
        "logs/{dataset}/features/{feature}/{split}.tsv"
    wildcard_constraints:
        feature="|".join(map(re.escape, COMPUTED)) or "(?!)",
    priority: 20  # Long trainings, which wait for them, should start early.
    conda:
        "../envs/earwitness.yaml"
    threads: 8
    resources:
        mem_mb=memory(16000),  # limits the number of processes
        attempt=lambda w, attempt: attempt,  # by which the script divides: a retry gives each process more memory
        runtime=240,
        clips_per_shard=lambda w: CONFIG.feature(w.dataset, w.feature).clips_per_shard,  # changes no content
    params:
        options=lambda w: CONFIG.feature(w.dataset, w.feature).settings("frames"),
        root=audio_root,
    message:
        "Extracting {wildcards.feature} of {wildcards.dataset}, {wildcards.split} ({log})"
    script:
        "../workflow/scripts/features.py"


rule import_features:
    input:
        clips=clips_of,
        sources="results/{dataset}/corpus/sources.csv",
        features=files_of,
    output:
        "results/{dataset}/features/{feature}/{split}.h5",
    log:
        "logs/{dataset}/features/{feature}/{split}.log",
    benchmark:
        "logs/{dataset}/features/{feature}/{split}.tsv"
    wildcard_constraints:
        feature="|".join(map(re.escape, IMPORTED)) or "(?!)",
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=120,
        folder=lambda w: CONFIG.feature(w.dataset, w.feature).folder,  # the content matters, not the place
    params:
        options=lambda w: CONFIG.feature(w.dataset, w.feature).model_dump(
            exclude={"clips_per_shard", "trained_on", "folder"}
        ),
    message:
        "Importing {wildcards.feature} of {wildcards.dataset}, {wildcards.split} ({log})"
    script:
        "../workflow/scripts/import_features.py"


def retriever_of(wildcards):
    """The files of the retriever that makes a feature, and the features of the split that it reads."""
    models = CONFIG.feature(wildcards.dataset, wildcards.feature).made_from()
    read = CONFIG.read_by_retriever(wildcards.dataset, wildcards.feature)
    features = {name: use._replace(file=f"{wildcards.split}.h5") for name, use in read.items()}
    found = {"model": models.values(), "features": features.values()}
    return {
        key: [f"results/{use.path(wildcards.dataset)}" for use in dict.fromkeys(uses)] for key, uses in found.items()
    }


rule embed_clips:
    input:
        unpack(retriever_of),
        clips=clips_of,
    output:
        "results/{dataset}/features/{feature}/{split}.h5",
    log:
        "logs/{dataset}/features/{feature}/{split}.log",
    benchmark:
        "logs/{dataset}/features/{feature}/{split}.tsv"
    wildcard_constraints:
        feature="|".join(map(re.escape, EMBEDDED)) or "(?!)",
    conda:
        "../envs/earwitness.yaml"
    threads: 8
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        options=lambda w: CONFIG.feature(w.dataset, w.feature).settings("frames"),
        names=lambda w: list(CONFIG.read_by_retriever(w.dataset, w.feature)),
    message:
        "Embedding the clips of {wildcards.dataset}, {wildcards.split}, by {wildcards.feature} ({log})"
    script:
        "../workflow/scripts/embed_clips.py"
