"""Strike real runs of the DAG at random moments, resume them, and compare what they make with an undisturbed run.

    python -m tests.workflow.faults --faults 200 --seed 0 --folder DIR

In ``DIR/disk/run`` the DAG of ``faults.yaml``, which has every stage and all four systems, is struck again and again:
kill -9 of everything, of Snakemake or of one job, SIGTERM to Snakemake or to one job, Ctrl-C once or twice, a full
disk. After each fault no process may be left, and the same command is run again with the next fault pending. When a run
completes, all results must be those of ``DIR/reference``; then the outputs of a random stage and of all that follow are
removed, and the next round begins.

The same command, killed or not, goes on after the last fault in ``DIR/faults.jsonl``. What each run printed is in
``DIR/printed``. Full disks need the right to mount a tmpfs, and are left out without it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import psutil
import yaml

from earwitness.files import code_version, read_json, sha256, write_json
from earwitness.training.events import read_events
from tests.places import ROOT
from tests.workflow.conftest import Workflow, environment

CONFIG = Path(__file__).with_name("faults.yaml")
SYSTEMS = {"cl4ac": ["cl4ac"], "atr": ["atr-lms"], "alignment": ["alignment"], "wsac": ["wsac", "clap-zeroshot"]}
TARGET = "results/tiny/comparison.html"
MARK = "EARWITNESS_FAULTS"  # in the environment of all processes of a run: its folder
DISK_MB = 400
LONGEST, GRACE = 600, 15  # seconds that a struck run, and processes that it leaves, may take to end
AHEAD = 2  # a fault strikes one of so many stages that come next
POLL = 0.1  # seconds


@dataclass
class Fault:
    """One fault, and what came of it."""

    number: int
    kind: str = ""
    stages: list[str] = field(default_factory=list)  # that were running; empty: Snakemake alone
    after: float = 0.0  # seconds since the start of the run
    left: list[str] = field(default_factory=list)  # processes that outlived the run
    problems: list[str] = field(default_factory=list)  # of the following run


class Run:
    """A run of Snakemake, in a session of its own."""

    def __init__(self, workflow: Workflow, config: Path, printed: Path, *arguments: str):
        self.printed, self.mark = printed, str(workflow.folder)
        printed.parent.mkdir(parents=True, exist_ok=True)
        command = workflow.command(*arguments, configfile=config)
        with printed.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment() | {MARK: self.mark},
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
            )
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def over(self) -> bool:
        return self.process.poll() is not None

    def jobs(self) -> dict[str, psutil.Process]:
        """The processes of the running jobs, by stage."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
            return {stage: child for child in children if (stage := stage_of(child))}
        return {}

    def wait(self) -> int | None:
        """The exit code; None for a run that does not end."""
        try:
            return self.process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            return None

    def left(self) -> list[psutil.Process]:
        """Processes that still run."""
        return [process for process in psutil.process_iter() if mark_of(process) == self.mark]

    def end(self) -> list[str]:
        """Kill what is left of a run that has ended; returns their command lines."""
        deadline = time.monotonic() + GRACE
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        names = []
        for process in left:
            with suppress(psutil.NoSuchProcess):
                names.append(" ".join(process.cmdline())[:300])
                process.kill()
        self.process.wait()
        return names


def stage_of(process: psutil.Process) -> str:
    """The stage whose script a process runs, as its log is named; "" for none."""
    with suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE:
            return stage_of_script(next((part for part in process.cmdline() if "/.snakemake/scripts/" in part), ""))
    return ""


@cache
def stage_of_script(script: str) -> str:
    with suppress(OSError):
        found = re.search(rb"logs/([\w./-]+)\.log", Path(script).read_bytes())
        return found[1].decode() if found else ""
    return ""


def mark_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.environ().get(MARK, "")
    return ""


# --- the faults -------------------------------------------------------------------------------------------------------


def _group(signals: int, pause: tuple[float, float] = (0, 0)) -> Callable[[Run, Random, Path], None]:
    def strike(run: Run, random: Random, disk: Path) -> None:
        os.killpg(run.process.pid, signals)
        if pause[1]:
            time.sleep(random.uniform(*pause))
            os.killpg(run.process.pid, signals)

    return strike


def _job(signals: int) -> Callable[[Run, Random, Path], None]:
    def strike(run: Run, random: Random, disk: Path) -> None:
        random.choice(list(run.jobs().values())).send_signal(signals)

    return strike


def _terminate(run: Run, random: Random, disk: Path) -> None:
    run.process.terminate()


def _orphan(run: Run, random: Random, disk: Path) -> None:
    """Kill Snakemake alone; its jobs go on, as when memory ran out."""
    run.process.kill()
    psutil.wait_procs(run.left(), LONGEST)


def _fill(run: Run, random: Random, disk: Path) -> None:
    """Fill the disk until the run has ended."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while not run.over() and run.seconds < LONGEST:
            with suppress(OSError):  # the disk is full
                file.write(bytes(1 << 20 if free(disk) > 1 << 20 else 1 << 12))
            if free(disk) < 1 << 12:
                time.sleep(POLL)
    filler.unlink()


def free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


JOB_KINDS: dict[str, Callable[[Run, Random, Path], None]] = {
    "kill -9 of a job": _job(signal.SIGKILL),
    "SIGTERM to a job": _job(signal.SIGTERM),
}
KINDS = JOB_KINDS | {
    "kill -9 of all": _group(signal.SIGKILL),
    "kill -9 of Snakemake": _orphan,
    "SIGTERM to Snakemake": _terminate,
    "Ctrl-C": _group(signal.SIGINT),
    "Ctrl-C twice": _group(signal.SIGINT, (0.05, 2)),
}
FULL_DISK = {"full disk": _fill}
UNLOCKED = ("kill -9 of all", "kill -9 of Snakemake")  # after these, `snakemake --unlock` is run, as the README says


# --- what is compared -------------------------------------------------------------------------------------------------


def differences(reference: Path, other: Path) -> list[str]:
    """Where two folders of results differ, but for times and MLflow's random ids."""
    expected, found = ({path.relative_to(folder): path for path in files(folder)} for folder in (reference, other))
    lines = [f"{path} is missing" for path in sorted(expected.keys() - found.keys())]
    lines += [f"{path} should not be there" for path in sorted(found.keys() - expected.keys())]
    lines += [
        f"{path} differs"
        for path in sorted(expected.keys() & found.keys())
        if content(expected[path]) != content(found[path])
    ]
    runs, made = tracked(reference), tracked(other)
    lines += [f"MLflow: {name} is missing, or not the same" for name in sorted((runs - made).keys())]
    lines += [f"MLflow: {name} should not be there" for name in sorted((made - runs).keys())]
    return lines


def files(results: Path) -> Iterator[Path]:
    """All files of results, temporary ones included, without those of MLflow and the cache of SPICE."""
    for path in results.rglob("*"):
        parts = path.relative_to(results).parts
        if path.is_file() and parts[0] not in ("mlflow.db", "mlflow-artifacts"):
            yield path


def content(path: Path) -> Any:
    """What a file holds, without times and random ids."""
    match path.name:
        case "events.jsonl":
            events = [event for event in read_events(path) if "params" in event or "metrics" in event]
            return [{key: value for key, value in event.items() if key != "time"} for event in events]
        case "tracking.json":
            return {**(record := read_json(path)), "runs": sorted(record.get("runs", {}))}
        case "mlflow-store.json":
            return {**read_json(path), "attempt": None}  # after a full disk there is another
        case "comparison.html":  # says when the models were trained
            return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", path.read_text(encoding="utf-8"))
    return sha256(path)


def tracked(results: Path) -> Counter[str]:
    """The runs of MLflow with all that belongs to them, but for times and ids."""
    runs: Counter[str] = Counter()
    with closing(sqlite3.connect(f"file:{results / 'mlflow.db'}?mode=ro", uri=True)) as store:
        rows = "SELECT run_uuid, name, status, artifact_uri FROM runs WHERE lifecycle_stage = 'active'"
        for run_id, name, status, artifacts in store.execute(rows).fetchall():
            values = "SELECT key, step, value FROM metrics WHERE run_uuid = ? AND key NOT LIKE 'system/%'"
            points = store.execute(values, [run_id]).fetchall()
            params = store.execute("SELECT key, value FROM params WHERE run_uuid = ?", [run_id]).fetchall()
            tags = store.execute("SELECT key FROM tags WHERE run_uuid = ? AND value != ''", [run_id]).fetchall()
            root = Path(artifacts.removeprefix("file://"))
            kept = sorted((str(path.relative_to(root)), str(content(path))) for path in root.rglob("*.*"))
            key = hashlib.sha256(json.dumps([sorted(points), sorted(params), sorted(tags), kept]).encode())
            counts = f"{len(points)} metric points, {len(params)} params, {len(kept)} artifacts"
            runs[f"{name} ({status}; {counts}; {key.hexdigest()[:8]})"] += 1
    return runs


# --- the harness ------------------------------------------------------------------------------------------------------


class Harness:
    """Strikes the runs of a folder.

    Args:
        systems: of ``SYSTEMS``.
        whole: whether the first round makes everything, rather than what begins with a training; without it, other
            rounds are shorter, too, and faults strike early in a stage.
    """

    def __init__(
        self, folder: Path, seed: int, systems: list[str], whole: bool = True, say: Callable[[str], None] = print
    ):
        self.folder, self.seed, self.whole, self.say = folder.resolve(), seed, whole, say
        folder.mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "config.yaml"
        options = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
        options["datasets"]["tiny"]["experiments"] = [name for system in systems for name in SYSTEMS[system]]
        self.config.write_text(yaml.safe_dump(options), encoding="utf-8")
        self.reference = Workflow(self.folder / "reference")
        self.disk = self.folder / "disk"
        self.struck = self.disk / "run"
        self.record = self.folder / "faults.jsonl"
        self.kinds = dict(KINDS)
        lines = self.record.read_text(encoding="utf-8").splitlines() if self.record.exists() else []
        self.faults = [Fault(**json.loads(line)) for line in lines]

    def run(self, faults: int) -> list[Fault]:
        """Go on until so many faults have struck; returns all of them."""
        self._make_reference()
        with self._mounted():
            workflow, attempt = self._first_round(), 0
            while True:
                number, pending = len(self.faults), len(self.faults) < faults
                random = Random(f"{self.seed} {number} {attempt}")
                fault = Fault(number)
                run = self._start(workflow, number, attempt)
                if pending and self._strike(run, fault, random):
                    self._record(fault)
                    attempt = 0
                    if fault.kind in UNLOCKED:
                        self._unlock(workflow, number)
                    continue
                code, left = run.wait(), run.end()
                problems = [f"left: {name}" for name in left]
                if code != 0:
                    problems.append(f"it failed ({code}): {run.printed.read_text(errors='replace')[-1500:]}")
                else:
                    self._publish(workflow)
                    problems += differences(self.reference / "results", workflow / "results")
                    if not problems and not pending:
                        return self.faults
                if problems:
                    self._problem(problems, workflow)
                    if not pending:
                        return self.faults
                else:
                    self.say(f"{number} of {faults}: a run completed, and its results are the same")
                    stages = random.sample(list(self.about["stages"]), 1 if self.whole else 3)
                    self._remove(workflow, min(map(self._outputs_from, stages), key=len))
                attempt += 1

    def _first_round(self) -> Workflow:
        if self.whole:
            return Workflow(self.struck)
        workflow = self.reference.copy(self.struck)
        with closing(sqlite3.connect(workflow / "results/mlflow.db")) as store:
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                places = [str(self.reference.folder), str(workflow.folder)]
                store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", places)
            store.commit()
        self._remove(
            workflow, self._outputs_from(next(name for name in self.about["stages"] if name.endswith("/train")))
        )
        return workflow

    def _start(self, workflow: Workflow, number: int, attempt: int) -> Run:
        return Run(workflow, self.config, self.folder / "printed" / f"{number:05d}-{attempt}.txt", TARGET)

    def _make_reference(self) -> None:
        """The undisturbed run, with start and duration of each stage and its outputs."""
        record = self.folder / "reference.json"
        if record.exists():
            self.about = read_json(record)
            if self.about["code"] != code_version():
                sys.exit(f"The code has changed since {self.reference.folder} was made. Choose another folder.")
            return
        self.say("making the reference ...")
        run = Run(self.reference, self.config, self.folder / "printed" / "reference.txt", TARGET)
        spans: dict[str, list[float]] = {}
        while not run.over():
            for stage in run.jobs():
                spans.setdefault(stage, [run.seconds, 0])[1] = run.seconds
            time.sleep(POLL)
        if run.wait() != 0:
            sys.exit(f"The undisturbed run failed: {run.printed}")
        command = self.reference.command("--detailed-summary", TARGET, configfile=self.config)
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True)
        stages: dict[str, dict[str, Any]] = {}
        for row in csv.DictReader(done.stdout.splitlines(), delimiter="\t"):
            name = row["log-file(s)"].removeprefix("logs/").removesuffix(".log")
            start, end = spans.get(name, [0, 1])
            inputs = row["input-file(s)"].split(",")
            about = {"rule": row["rule"], "start": start, "seconds": end - start, "inputs": inputs, "outputs": []}
            stages.setdefault(name, about)["outputs"].append(row["output_file"])
        stages = dict(sorted(stages.items(), key=lambda item: item[1]["start"]))
        self.about = {"code": code_version(), "seconds": run.seconds, "stages": stages}
        write_json(record, self.about)
        self.say(f"the reference took {run.seconds:.0f} s, {len(stages)} jobs")

    @contextmanager
    def _mounted(self) -> Iterator[None]:
        """A small disk for the struck runs, where it can be mounted."""
        self.disk.mkdir(exist_ok=True)
        if os.path.ismount(self.disk):  # of a harness that was killed
            subprocess.run(["umount", str(self.disk)], check=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(self.disk)]
        mounted = shutil.which("mount") and not subprocess.run(mount, capture_output=True, check=False).returncode
        if mounted:
            self.kinds |= FULL_DISK
        else:
            self.say("no disk can be mounted: full disks are left out")
            shutil.rmtree(self.struck, ignore_errors=True)
        try:
            yield
        finally:
            if mounted:
                subprocess.run(["umount", "-l", str(self.disk)], check=True)

    def _strike(self, run: Run, fault: Fault, random: Random) -> bool:
        """Strike at a random moment, of the time left or of one of the next stages; False if the run ended first."""
        left = [name for name, stage in self.about["stages"].items() if self._is_missing(stage)]
        share = 1 if self.whole else 0.4
        if not left and random.random() < 0.75:  # nothing is to be made
            return False
        stage = random.choice(left[:AHEAD]) if left and random.random() < 0.75 else ""
        if stage:
            while stage not in run.jobs():
                if run.over():
                    return False
                time.sleep(POLL)
            until = run.seconds + random.uniform(0, share * self.about["stages"][stage]["seconds"])
        else:
            first = min(entry["start"] for entry in self.about["stages"].values())
            rest = sum(self.about["stages"][name]["seconds"] for name in left) / 2
            until = random.uniform(0, first + share * min(rest, 10 * first))
        while run.seconds < until:
            if run.over():
                return False
            time.sleep(min(POLL, max(0.0, until - run.seconds)))
        jobs = run.jobs()
        kinds = [kind for kind in self.kinds if jobs or kind not in JOB_KINDS]
        fault.kind, fault.stages, fault.after = random.choice(kinds), sorted(jobs), round(run.seconds, 2)
        try:
            self.kinds[fault.kind](run, random, self.disk)
        except (ProcessLookupError, psutil.NoSuchProcess, IndexError):  # it ended in this moment
            return False
        if run.wait() is None:
            fault.left.append(f"the run did not end in {LONGEST} s")
            os.killpg(run.process.pid, signal.SIGKILL)
            fault.problems.append("hangs")
        fault.left += run.end()
        return True

    def _is_missing(self, stage: dict[str, Any]) -> bool:
        return any(not (self.struck / path).exists() for path in stage["outputs"])

    def _unlock(self, workflow: Workflow, number: int) -> None:
        run = Run(workflow, self.config, self.folder / "printed" / f"{number:05d}-unlock.txt", "--unlock", TARGET)
        if run.wait() != 0:
            self._problem([f"--unlock failed: {run.printed}"], workflow)

    def _publish(self, workflow: Workflow) -> None:
        """Publish results that were made while MLflow's store could not be written, as after a full disk."""
        records = [read_json(path) for path in (workflow / "results").glob("*/*/tracking.json")]
        if not all(record["published"] for record in records):
            command = [sys.executable, "-m", "earwitness", "--results", str(workflow / "results"), "publish"]
            subprocess.run(command, cwd=workflow.folder, env=environment(), capture_output=True, check=False)

    def _outputs_from(self, stage: str) -> set[str]:
        """The outputs of a stage and of all that follow."""
        files, before = set(self.about["stages"][stage]["outputs"]), 0
        while len(files) > before:
            before = len(files)
            for other in self.about["stages"].values():
                if files.intersection(other["inputs"]):
                    files.update(other["outputs"])
        return files

    def _remove(self, workflow: Workflow, files: set[str]) -> None:
        """Remove outputs; with the record of MLflow's store also the store."""
        if "results/mlflow-store.json" in files:
            (workflow / "results/mlflow.db").unlink()
            shutil.rmtree(workflow / "results/mlflow-artifacts")
        for path in (workflow / name for name in files):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _problem(self, problems: list[str], workflow: Workflow) -> None:
        """Record what went wrong after the last fault, keep its folder, and begin anew."""
        if not self.faults:
            sys.exit("Without any fault: " + "\n  ".join(problems))
        self.faults[-1].problems += problems
        self._write()
        self.say(f"after fault {self.faults[-1].number}: " + "\n  ".join(problems))
        kept = self.folder / "kept" / f"{self.faults[-1].number:05d}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.move(workflow.folder, kept)
        self._first_round()

    def _record(self, fault: Fault) -> None:
        self.faults.append(fault)
        self._write()
        left = f"; left: {fault.left}" if fault.left else ""
        self.say(f"{fault.number + 1}: {fault.kind} after {fault.after:.1f} s, {fault.stages or 'Snakemake'}{left}")

    def _write(self) -> None:
        lines = [json.dumps(asdict(fault)) for fault in self.faults]
        self.record.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def kind_of_stage(stage: str) -> str:
    """A stage without data set, seed and split."""
    parts = [part for part in stage.split("/") if not part.startswith(("seed-", "tiny", "mini-clap"))]
    return "/".join(part for part in parts if part not in ("development", "validation", "evaluation"))


def summary(faults: list[Fault]) -> str:
    """How many faults there were, by kind and by stage, and what came of them."""
    kinds = Counter(fault.kind for fault in faults)
    stages = Counter(kind_of_stage(stage) for fault in faults for stage in fault.stages or ["Snakemake alone"])
    bad = [fault for fault in faults if fault.problems or fault.left]
    lines = [f"{len(faults)} faults, after {len(faults) - len(bad)} of which the run resumed as if nothing had been"]
    for heading, counter in (("by kind", kinds), ("by stage that was running", stages)):
        lines += [heading, *(f"  {count:4d} {name}" for name, count in counter.most_common())]
    for fault in bad:
        lines.append(f"fault {fault.number}, {fault.kind}, in {fault.stages}: left {fault.left}, {fault.problems}")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200, help="all together, those of earlier calls included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    arguments = parser.parse_args()
    harness = Harness(
        arguments.folder, arguments.seed, arguments.systems, True,
        lambda text: print(f"{time.strftime('%H:%M:%S')} {text}", flush=True),
    )  # fmt: skip
    print(summary(harness.run(arguments.faults)))
