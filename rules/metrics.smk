"""Downloads for metrics beyond the packages; separate targets that scoring never requests."""


localrules:
    spice_jars,  # compute nodes often have no internet access


rule spice_jars:
    output:
        "resources/spice/jars.json",
    log:
        "logs/spice_jars.log",
    conda:
        "../envs/earwitness.yaml"
    resources:
        mem_mb=1000,
        runtime=240,
        repository=CONFIG.spice.repository or "",
    message:
        "Fetching the jars of SPICE ({log})"
    script:
        "../workflow/scripts/spice_jars.py"
