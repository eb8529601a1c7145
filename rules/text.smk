"""Text: the vocabulary of the training captions, and word vectors trained on them."""


rule text:
    input:
        clips="results/{dataset}/corpus/clips.csv",
        captions="results/{dataset}/corpus/captions.csv",
    output:
        vocabulary="results/{dataset}/text/{text}/vocabulary.json",
        word2vec="results/{dataset}/text/{text}/word2vec.bin",
    log:
        "logs/{dataset}/text/{text}.log",
    benchmark:
        "logs/{dataset}/text/{text}.tsv"
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        options=lambda w: CONFIG.text(w.dataset, w.text).model_dump(),
    script:
        "../workflow/scripts/text.py"
