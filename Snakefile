from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/leaks.smk"
include: "rules/features.smk"
include: "rules/text.smk"
include: "rules/clap.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/metrics.smk"
include: "rules/track.smk"
include: "rules/report.smk"
include: "rules/unknown.smk"


rule all:
    default_target: True
    input:
        "results/mini/comparison.html",
