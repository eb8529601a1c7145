"""The DAG through profiles/slurm, on a Slurm of one node that the test starts; its training is preempted and resumes.

It needs Debian's packages slurm-wlm and munge, requirements.cluster and root, and skips without, or where Slurm is
configured: it reads its configuration at one place only, which is then somebody's.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from earwitness.files import read_json, sha256
from earwitness.training.events import read_events
from tests.places import ROOT
from tests.workflow.conftest import Workflow, environment

# Where jobs find it, also in `srun`: SLURM_CONF does not reach those.
CONF = Path("/etc/slurm/slurm.conf")
MARK = "# For a test of Earwitness; it is removed when the test ends.\n"
# A job in `urgent` preempts those in `main`, which are queued again.
TEMPLATE = """ClusterName=earwitness
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=300
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL State=UP PriorityTier=2
"""
# Made by one job of the cluster: starting one, and noticing its end, takes longer than this data set.
GROUPS = [
    *(f"{rule}=preparation" for rule in ("synthesise", "corpus", "features", "text_vocabulary", "leaks")),
    *(f"{rule}=evaluation" for rule in ("predict_captioning", "score_captioning")),
]
QUICK = ["--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"]

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(900)]  # two minutes on an idle machine with two cores


def command(*arguments: str) -> str:
    """What a command of Slurm prints; empty where it fails, or gives no answer."""
    try:
        return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=20).stdout.strip()
    except subprocess.TimeoutExpired:
        return ""


def lacking() -> str | None:
    """Why Slurm cannot be started here."""
    if missing := [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not program(name)]:
        return f"Slurm is not installed (Debian's slurm-wlm and munge): {', '.join(missing)}"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "Snakemake's plugin for Slurm is not installed (requirements.cluster)"
    if os.geteuid() != 0:
        return "only root can start Slurm"
    if CONF.exists() and not (CONF.read_text(encoding="utf-8").startswith(MARK) and not command("sinfo", "--noheader")):
        return f"Slurm is configured here ({CONF})"
    return None


def program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[None]:
    """A running Slurm of one node with two cores, without accounting."""
    if reason := lacking():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)  # as munged wants it
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o600)
    files = {"socket": "munge.socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munged = ["munged", "--force", "--foreground", *(f"--{key}={folder / name}" for key, name in files.items())]
    CONF.parent.mkdir(exist_ok=True)
    conf = TEMPLATE.format(host=socket.gethostname().split(".")[0], ports=free_ports(2), folder=folder)
    with ExitStack() as ends:  # all of them, whatever fails
        ends.callback(CONF.unlink, missing_ok=True)
        CONF.write_text(MARK + conf, encoding="utf-8")
        log = ends.enter_context((folder / "daemons.log").open("w"))
        for arguments in (munged, ["slurmctld", "-D", "-i"], ["slurmd", "-D"]):
            start = [str(program(arguments[0])), *arguments[1:]]
            ends.callback(end, subprocess.Popen(start, stdout=log, stderr=log, start_new_session=True))
            time.sleep(0.5)
        ends.callback(cancel_all)
        if not wait_for(lambda: "idle" in command("sinfo", "--noheader", "--format=%T"), 30):
            pytest.skip("Slurm does not start here:\n" + (folder / "daemons.log").read_text(encoding="utf-8")[-2000:])
        yield


def cancel_all() -> None:
    command("scancel", "--user=root", "--signal=KILL", "--full")
    command("scancel", "--user=root")
    wait_for(lambda: not command("squeue", "--noheader"), 10)


def end(daemon: subprocess.Popen) -> None:
    """End a daemon, with all that it started where it does not end by itself."""
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


def wait_for(condition, seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return met


def jobs(*format: str) -> list[str]:
    return command("squeue", "--states=all", "--noheader", "--sort=i", f"--format={'|'.join(format)}").splitlines()


def epochs(workflow: Workflow) -> int:
    """Number of epochs that the training has begun."""
    files = (workflow / "results/.work").glob("*/events.jsonl")
    return 1 + max((event.get("epoch", -1) for file in files for event in read_events(file)), default=-1)


def test_preempted_training_resumes_to_the_same_weights(slurm, tmp_path, tiny_config):
    workflow, seed = Workflow(tmp_path / "run"), "results/tiny/cl4ac/seed-0"
    options = ["--profile", str(ROOT / "profiles" / "slurm"), "--max-threads", "1", "--groups", *GROUPS, *QUICK]
    with workflow.start("results/tiny/cl4ac/metrics.json", *options, configfile=tiny_config) as snakemake:
        try:
            assert wait_for(lambda: epochs(workflow) > 1 or snakemake.poll() is not None, 400)
            training = jobs("%i")[-1]
            subprocess.run(["sbatch", "--partition=urgent", "--cpus-per-task=2", "--output=/dev/null", "--wrap=true"])
            # Slurm makes jobs that it puts back wait for two minutes.
            assert wait_for(lambda: f"{training}|PENDING|BeginTime" in jobs("%i", "%T", "%r"), 30), jobs("%i", "%T")
            command("scontrol", "update", f"JobId={training}", "StartTime=now")
            _, printed = snakemake.communicate(timeout=400)
        finally:
            if snakemake.poll() is None:
                os.killpg(snakemake.pid, signal.SIGKILL)
    assert snakemake.returncode == 0, printed[-6000:]
    assert "resuming after epoch" in (workflow / "logs/tiny/cl4ac/seed-0/train.log").read_text(encoding="utf-8")
    assert "Restarts=1" in command("scontrol", "show", "job", training)
    assert len(jobs("%i")) == 4, "preparation, training, what preempted it, evaluation"
    assert read_json(workflow / "results/tiny/cl4ac/tracking.json")["published"]

    preempted = sha256(workflow / seed / "model.safetensors")
    for path in (workflow / seed).glob("*.*"):
        path.unlink()
    by_hand = [sys.executable, str(ROOT / "workflow/scripts/train.py"), "dataset=tiny", "experiment=cl4ac", "seed=0"]
    by_hand += ["--configfile", str(tiny_config), "--directory", str(workflow.folder)]
    subprocess.run(by_hand, env=environment(), check=True, stderr=subprocess.DEVNULL)
    assert sha256(workflow / seed / "model.safetensors") == preempted
