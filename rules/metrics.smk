"""What metrics need beside the packages, each a target of its own that no scoring asks for."""


localrules:
    spice_jars,  # compute nodes often have no way out


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
        "Fetching the jars of SPICE"
    script:
        "../workflow/scripts/spice_jars.py"
