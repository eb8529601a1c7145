"""Text: representations of captions for models, such as a vocabulary; one rule per kind."""


def published_vectors(wildcards):
    """The published files that a text reads, and the records of their download."""
    files = CONFIG.text(wildcards.dataset, wildcards.text).checkpoints().values()
    known = [path for path in files if Path(path).parent == FOLDER and Path(path).name in CHECKPOINTS]
    return [*known, *(f"{path}.json" for path in known)]


def found_for_text(wildcards):
    """Digests of a text's other files, and of what else on this machine it is made with."""
    options, published = CONFIG.text(wildcards.dataset, wildcards.text), published_vectors(wildcards)
    files = {key: path for key, path in options.checkpoints().items() if path not in published}
    return plain(checkpoint_digests, files) | options.found()


for kind, entry in registry.TEXTS.items():

    rule:
        name:
            f"text_{kind}"
        input:
            unpack(lambda w: below(w.dataset, CONFIG.text(w.dataset, w.text).made_from())),
            clips="results/{dataset}/corpus/clips.csv",
            captions="results/{dataset}/corpus/captions.csv",
            phrases="results/{dataset}/corpus/phrases.csv",
            published=published_vectors,
        output:
            **{
                name: f"results/{{dataset}}/text/{{text}}/{file}"
                for name, file in registry.load(entry.options).FILES.items()
            },
        log:
            "logs/{dataset}/text/{text}.log",
        benchmark:
            "logs/{dataset}/text/{text}.tsv"
        wildcard_constraints:
            text="|".join(re.escape(name) for name, options in CONFIG.texts.items() if options.kind == kind) or "(?!)",
        conda:
            "../envs/earwitness.yaml"
        threads: 8 if hasattr(registry.load(entry.options), "MODEL") else 1
        resources:
            mem_mb=memory(4000),
            runtime=60,
        params:
            options=lambda w: CONFIG.text(w.dataset, w.text).settings("text"),
            checkpoints=found_for_text,
        message:
            "Preparing the text {wildcards.text} of {wildcards.dataset} ({log})"
        script:
            "../workflow/scripts/text.py"
