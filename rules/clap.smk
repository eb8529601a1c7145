"""CLAP: the gap between the vectors of clips and those of captions, over the development split."""


rule gap:
    input:
        features="results/{dataset}/features/{clap}/development.h5",
        vectors="results/{dataset}/text/{clap}/vectors.h5",
        captions="results/{dataset}/corpus/captions.csv",
    output:
        gap="results/{dataset}/clap/{clap}/gap.h5",
        report="results/{dataset}/clap/{clap}/gap.json",
    log:
        "logs/{dataset}/clap/{clap}/gap.log",
    benchmark:
        "logs/{dataset}/clap/{clap}/gap.tsv"
    wildcard_constraints:
        clap="|".join(map(re.escape, sorted(CONFIG.features.keys() & CONFIG.texts.keys()))) or "(?!)",
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=memory(2000),
        runtime=60,
    message:
        "Measuring the gap between clips and captions of {wildcards.dataset} by {wildcards.clap} ({log})"
    script:
        "../workflow/scripts/gap.py"
