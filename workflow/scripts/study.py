"""Compare the experiments of a sweep with its baseline, and make their page."""

import sys
from pathlib import Path

from _stage import stage
from earwitness.evaluation.study import study
from earwitness.files import write_json
from earwitness.report import terminal
from earwitness.report.study import write_study

if __name__ == "__main__":
    with stage(globals()) as snakemake:
        page, out = Path(snakemake.output[0]), Path(snakemake.output[2])
        content = study(page.parents[1], snakemake.wildcards.sweep, **snakemake.params.study)
        write_json(out, content)
        write_study(content, page)
        print(f"\n{terminal.study(content)}\n\n{page}\n", file=sys.stderr)
