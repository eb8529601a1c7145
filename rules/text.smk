"""Text: representations of captions for models, such as a vocabulary; one rule per kind."""

for kind, entry in registry.TEXTS.items():

    rule:
        name:
            f"text_{kind}"
        input:
            clips="results/{dataset}/corpus/clips.csv",
            captions="results/{dataset}/corpus/captions.csv",
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
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            options=lambda w: CONFIG.text(w.dataset, w.text).settings("text"),
            checkpoints=lambda w: plain(checkpoint_digests, CONFIG.text(w.dataset, w.text).checkpoints()),
        message:
            "Preparing the text {wildcards.text} of {wildcards.dataset} ({log})"
        script:
            "../workflow/scripts/text.py"
