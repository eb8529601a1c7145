#!/bin/sh
# snakemake-executor-plugin-slurm 2.8.0: a job that Slurm preempts by cancelling it is waited for without end.
#
# With PreemptMode=CANCEL, PREEMPTED is the last state of a job: Slurm does not put it back into the queue. The plugin takes
# it for one that Slurm will resume, whatever the mode: Snakemake neither reports the job nor submits it again (`retries`),
# and does not end on SIGTERM either. Here Slurm's commands are stand-ins that answer as a real Slurm 22.05 did:
# a job that is FAILED ends the run within seconds, one that is PREEMPTED has not ended it after a minute.
# To avoid it, use partitions with PreemptMode=REQUEUE, or interrupt Snakemake and start it again.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check snakemake==9.27.1 snakemake-executor-plugin-slurm==2.8.0
mkdir "$folder/bin"
cat > "$folder/bin/sbatch" <<'END'
#!/bin/sh
echo 1
END
cat > "$folder/bin/scontrol" <<'END'
#!/bin/sh
echo "MinJobAge = 300 sec"
END
cat > "$folder/bin/squeue" <<'END'
#!/bin/sh
echo "1|$STATE"
END
for name in sinfo sacct sacctmgr scancel; do printf '#!/bin/sh\n' > "$folder/bin/$name"; done
chmod +x "$folder/bin/"*
cat > "$folder/Snakefile" <<'END'
rule a:
    output:
        "a.txt",
    resources:
        mem_mb=100,
        runtime=10,
    shell:
        "touch {output}"
END
cd "$folder"

# Exit status of a run whose job ends in the state: 1 where Snakemake noticed, 124 or 137 where it went on waiting.
run() {
  status=0
  STATE=$1 PATH="$folder/bin:$PATH" timeout --kill-after=1 60 "$folder/venv/bin/python" -m snakemake --executor slurm \
    --jobs 1 --nolock --slurm-status-command squeue --slurm-init-seconds-before-status-checks 1 \
    --default-resources slurm_partition=main > "$folder/log" 2>&1 || status=$?
  echo "$1: exit status $status"
}

run FAILED
[ "$status" = 1 ] || { cat "$folder/log"; exit 1; }
run PREEMPTED
[ "$status" = 124 ] || [ "$status" = 137 ]
