"""Text: the vocabulary of the training captions, and word vectors trained on them."""


rule text:
    input:
        clips="results/{dataset}/corpus/clips.csv",
        captions="results/{dataset}/corpus/captions.csv",
    output:
        vocabulary="results/{dataset}/text/{text}/vocabulary.json",
        word2vec="results/{dataset}/text/{text}/word2vec.bin",
    params:
        options=lambda w: CONFIG.text(w.dataset, w.text).model_dump(),
    log:
        "logs/{dataset}/text/{text}.log",
    benchmark:
        "logs/{dataset}/text/{text}.tsv"
    resources:
        mem_mb=2000,
        runtime=60,
    script:
        "../workflow/scripts/text.py"
