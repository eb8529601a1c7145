"""Features: one file for each split, made in shards by worker processes."""


rule features:
    input:
        clips="results/{dataset}/corpus/clips.csv",
    output:
        "results/{dataset}/features/{feature}/{split}.h5",
    log:
        "logs/{dataset}/features/{feature}/{split}.log",
    benchmark:
        "logs/{dataset}/features/{feature}/{split}.tsv"
    conda:
        "../envs/earwitness.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
        clips_per_shard=lambda w: CONFIG.feature(w.dataset, w.feature).clips_per_shard,  # changes no content
    params:
        options=lambda w: CONFIG.feature(w.dataset, w.feature).model_dump(exclude={"clips_per_shard", "trained_on"}),
        root=audio_root,
    script:
        "../workflow/scripts/features.py"
