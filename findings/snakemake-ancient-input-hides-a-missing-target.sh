#!/bin/sh
# snakemake 9.27.1: a run ends with exit code 0 and without its target when an ancient() input is made anew.
#
# `store` exists and is to be made again: its parameters changed, or a kill left it marked as incomplete
# (--rerun-incomplete). The target needs it as ancient(), and does not exist. Only `store` is made: "1 of 1 steps (100%)
# done". The same command once more makes the target.
# In DAG.update_needrun, jobs that follow a job that must run are not looked at on their own (`masked`), since they would be
# reached from it; but on the way from it an existing ancient file stops the search.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check snakemake==9.27.1
cat > "$folder/Snakefile" <<'SNAKEFILE'
rule target:
    input: ancient("store")
    output: "target"
    shell: "touch {output}"

rule store:
    output: "store"
    params: config["place"]
    shell: "touch {output}"
SNAKEFILE
run() { "$folder/venv/bin/snakemake" --snakefile "$folder/Snakefile" --directory "$folder" --cores 1 "$@" > "$folder/log" 2>&1; }
"$folder/venv/bin/snakemake" --version
run store --config place=here
run target --config place=there
echo "exit code $?, $(grep -o '. of . steps (100%) done' "$folder/log"); target: $(ls "$folder" | grep -c '^target$')"
test ! -e "$folder/target" || { echo "the behaviour changed"; exit 1; }
run target --config place=there
echo "once more: target: $(ls "$folder" | grep -c '^target$')"
test -e "$folder/target" || { echo "the behaviour changed"; exit 1; }
# Seen:
# 9.27.1
# exit code 0, 1 of 1 steps (100%) done; target: 0
# once more: target: 1
