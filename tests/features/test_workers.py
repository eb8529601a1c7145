"""How the work is divided among processes, and what happens when some or all of them are killed."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile

from earwitness.corpora.tables import CLIPS, write_table
from earwitness.extractors.interface import Extractor
from earwitness.extractors.logmel import LogMelOptions
from earwitness.features import workers
from earwitness.features.stage import extract
from earwitness.features.store import FeatureStore
from earwitness.files import sha256

RATE = 8000


class Echo(Extractor):
    """Frames are the samples; notes how long the clips of each call are."""

    sample_rate, dimension, hop, window_seconds, batch_seconds = RATE, 1, 1, 0.0, 80 / RATE

    def __init__(self):
        self.calls = []

    def frames(self, waveforms):
        self.calls.append(waveforms.shape)
        return waveforms[:, :, None]


def made(folder, lengths, clips_per_shard=3):
    """Shards of recordings of so many samples, each filled with its own number."""
    options = LogMelOptions(extractor="logmel", sample_rate=RATE, fmax=4000, clips_per_shard=clips_per_shard)
    for number, samples in enumerate(lengths):
        soundfile.write(folder / f"{number}.wav", np.full(samples, number / 100), RATE, subtype="FLOAT")
    shards = []
    for start in range(0, len(lengths), clips_per_shard):
        names = [f"{number}.wav" for number in range(start, min(start + clips_per_shard, len(lengths)))]
        shards.append(
            workers.Shard(
                folder / "shards" / f"{start}.h5",
                tuple(names),
                folder,
                tuple(names),
                tuple(sha256(folder / name) for name in names),
                tuple(lengths[int(name[:-4])] / RATE for name in names),
                options,
                {},
            )
        )
    return shards


def test_batches_are_of_one_length_and_in_the_order_of_their_first_clips():
    assert workers.batches([3, 1, 3, 2, 3, 1, 3], 6.5) == [[0, 2], [1, 5], [3], [4, 6]]
    assert workers.batches([3, 1, 3, 1], 2) == [[0], [1, 3], [2]]
    assert workers.batches([3, 1, 3], 0) == [[0], [1], [2]]
    assert workers.batches([], 4) == []


def test_one_process_writes_every_clip_in_order_and_tells_how_far_it_is(tmp_path):
    lengths = [40, 30, 40, 40, 30]
    extractor, told = Echo(), []
    shards = made(tmp_path, lengths)
    workers.make(shards, extractor, 1, None, lambda clips, seconds: told.append((clips, round(seconds * RATE))))
    assert extractor.calls == [(2, 40), (1, 30), (1, 40), (1, 30)]
    assert told == [(2, 80), (1, 30), (1, 40), (1, 30)]
    for shard in shards:
        with FeatureStore(shard.path) as store:
            for clip_id in store.clip_ids:
                number = int(clip_id[:-4])
                assert np.allclose(store[clip_id], number / 100) and len(store[clip_id]) == lengths[number]


def test_clips_of_one_duration_but_other_lengths_do_not_run_together(tmp_path):
    (shard,) = made(tmp_path, [40, 40, 30])
    shard = replace(shard, seconds=(0.005, 0.005, 0.005))
    extractor = Echo()
    extractor.batch_seconds = 1
    workers.make([shard], extractor, 1, None, lambda *_: None)
    assert sorted(extractor.calls) == [(1, 30), (2, 40)]


def test_processes_by_cores_memory_and_work(tmp_path):
    extractor, shards = Echo(), made(tmp_path, [40, 30, 40, 40, 30, 30, 30])
    assert workers.processes_for(extractor, 8, 1e6, shards) == 3  # of three shards
    assert workers.processes_for(extractor, 2, 1e6, shards) == 2
    assert workers.processes_for(extractor, 8, 1300, shards) == 2
    assert workers.processes_for(extractor, 8, 100, shards) == 1
    longer = [replace(shards[0], seconds=(400.0, 1.0, 1.0)), *shards[1:]]
    assert workers.processes_for(extractor, 8, 2500, longer) == 1
    extractor.on_gpu = True
    assert workers.processes_for(extractor, 8, 1e6, shards) == 1


LIMIT = 300  # seconds until a process that should end by itself is taken for hung
SIZES = {"sample_rate": RATE, "n_fft": 256, "hop": 80, "mels": 16, "fmax": 4000, "clips_per_shard": 2}
SCRIPT = f"""
    import os
    import sys
    import threading
    from pathlib import Path
    from earwitness.errors import EarwitnessError
    from earwitness.extractors.logmel import LogMelOptions
    from earwitness.features import workers
    from earwitness.features.stage import extract

    load = workers.load

    def first_shard_only(path, rate):
        if path.stem not in ("0", "1"):
            os.write(1, b"%d\\n" % os.getpid())
            threading.Event().wait()
        return load(path, rate)

    workers.load = first_shard_only  # also in the processes of the pool, which run this file again

    if __name__ == "__main__":
        folder = Path(sys.argv[1])
        options = LogMelOptions(extractor="logmel", **{SIZES!r})
        try:
            extract(options, folder / "clips.csv", "development", folder, folder / "out/development.h5", 2)
        except EarwitnessError as error:
            sys.exit(f"message: {{error}}")
        except KeyboardInterrupt:
            sys.exit(130)
"""


@pytest.fixture
def corpus(tmp_path):
    rows = []
    for number in range(12):
        samples = np.random.default_rng(number).uniform(-0.5, 0.5, RATE)
        soundfile.write(tmp_path / f"{number}.wav", samples, RATE, subtype="FLOAT")
        known = sha256(tmp_path / f"{number}.wav")
        rows.append([f"development/{number}", "development", f"{number}.wav", "name", 1.0, RATE, 1, known])
    write_table(tmp_path / "clips.csv", pd.DataFrame(rows, columns=CLIPS))
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    return tmp_path


def started(corpus):
    """An extraction in a process group of its own, and its two processes.

    One of them has written the first of six shards, and both are in the middle of another: they wait to be killed.
    """
    process = subprocess.Popen(
        [sys.executable, str(corpus / "script.py"), str(corpus)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    waiting = [process.stdout.readline() for _ in range(2)]
    if not all(waiting):
        raise AssertionError(process.communicate()[1])
    assert len(list((corpus / "out" / "development.shards").glob(".*.tmp"))) == 2
    return process, [psutil.Process(int(pid)) for pid in waiting]


def goes_on_to_the_same(corpus):
    shards = corpus / "out" / "development.shards"
    assert len(list(shards.glob("[!.]*.h5"))) == 1
    options = LogMelOptions(extractor="logmel", **SIZES)
    extract(options, corpus / "clips.csv", "development", corpus, corpus / "out/development.h5", 1)
    extract(options, corpus / "clips.csv", "development", corpus, corpus / "whole.h5", 1)
    assert sha256(corpus / "out/development.h5") == sha256(corpus / "whole.h5")
    assert not shards.exists()


@pytest.mark.parametrize("reaches", ["all", "workers"])
def test_ctrl_c_ends_all_processes_without_tracebacks_and_leaves_complete_shards(corpus, reaches):
    """Also where the workers have died of it before the process that waits for them has noticed anything."""
    process, at_work = started(corpus)
    if reaches == "all":
        os.killpg(process.pid, signal.SIGINT)
    else:
        for worker in at_work:
            worker.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 130 and "Traceback" not in printed, printed
    assert not psutil.wait_procs(at_work, timeout=LIMIT)[1]
    assert not list((corpus / "out" / "development.shards").glob(".*"))
    goes_on_to_the_same(corpus)


def test_a_killed_process_is_reported(corpus):
    process, at_work = started(corpus)
    at_work[0].kill()
    printed = process.communicate(timeout=LIMIT)[1]
    assert process.returncode == 1 and "Traceback" not in printed, printed
    assert "message: " in printed and "killed" in printed and "mem_mb" in printed
    assert not psutil.wait_procs(at_work, timeout=LIMIT)[1]
    goes_on_to_the_same(corpus)


def test_processes_end_with_the_one_that_began_them(corpus):
    process, at_work = started(corpus)
    process.kill()
    process.communicate(timeout=LIMIT)
    assert not psutil.wait_procs(at_work, timeout=LIMIT)[1]
    goes_on_to_the_same(corpus)
