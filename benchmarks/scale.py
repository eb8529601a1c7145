"""How corpora of many clips fare: time and peak memory against the number of clips.

First the whole corpus stage, on 1,000, 10,000 and 100,000 generated recordings of 0.05 s with a caption each, listed in
a jsonl (`folder` layout). Then what follows it, on tables of 400,000 clips (the size of WavCaps) with a caption each:
the tables of a split, its captions, the plan of an extraction, vocabulary and word vectors, the leak audit against an
equally long list, and Snakemake's dry run of the DAG. Every measurement is a process of its own, whose peak of resident
memory the kernel tells (VmHWM, so Linux is needed). Memory is flat when a clip more costs about a
kilobyte or less: its id, its path, its digest, its caption.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import soundfile

from earwitness.config import validated
from earwitness.corpora.tables import CAPTIONS, CLIPS, SOURCES, write_rows
from earwitness.options import IdListOptions, VocabularyOptions

ROOT = Path(__file__).parents[1]
RATE, SAMPLES = 8000, 400
WORDS = 2000  # of the captions' vocabulary
FEATURE = {"extractor": "logmel", "sample_rate": 8000, "fmax": 4000, "seconds": 1}


@dataclass(frozen=True)
class Row:
    """One measurement: seconds of the wall clock, and the peak of resident memory in MB."""

    what: str
    clips: int
    seconds: float
    peak: float

    def __str__(self) -> str:
        rate = f"{self.clips / self.seconds:>12,.0f}"
        return f"{self.what:<34} {self.clips:>9,} {self.seconds:>9.1f} {rate} {self.peak:>9.0f}"


HEADER = f"{'':<34} {'clips':>9} {'seconds':>9} {'clips/s':>12} {'peak MB':>9}"


def caption(number: int) -> str:
    """A caption of twelve words that differs from clip to clip."""
    return " ".join(f"word{(number * 31 + 17 * place * place) % WORDS}" for place in range(12))


def make_recordings(root: Path, clips: int) -> None:
    """So many tiny recordings, no two alike, a thousand a folder, and a table of them."""
    silence = io.BytesIO()
    soundfile.write(silence, [0.0] * SAMPLES, RATE, format="WAV", subtype="PCM_16")
    head = silence.getvalue()[: -2 * SAMPLES]
    with (root / "clips.jsonl").open("w", encoding="utf-8") as table:
        for number in range(clips):
            name = f"{number // 1000:04d}/clip {number:07d}.wav"
            path = root / name
            if number % 1000 == 0:
                path.parent.mkdir()
            path.write_bytes(head + hashlib.shake_128(name.encode()).digest(2 * SAMPLES))
            split = ("development", "development", "validation", "evaluation")[number % 4]
            table.write(json.dumps({"file_name": name, "caption": caption(number), "split": split}) + "\n")


def corpus_stage(root: Path, out: Path) -> None:
    """List, check and count them all."""
    from earwitness.corpora.layouts.folder import Folder
    from earwitness.corpora.stage import build

    options = validated("datasets", {"layout": "folder", "audio": str(root), "table": str(root / "clips.jsonl")})
    build(Folder(options), options, root, out, os.cpu_count() or 1)


def make_tables(folder: Path, clips: int) -> None:
    """The tables that the corpus stage would write of so many clips; nearly all to train on, as in WavCaps."""
    ids = [f"{'evaluation' if number % 100 == 0 else 'development'}/{number:07d}.flac" for number in range(clips)]
    digests = (hashlib.sha256(clip.encode()).hexdigest() for clip in ids)
    rows = zip(ids, digests, strict=True)
    write_rows(
        folder / "clips.csv",
        CLIPS,
        ((i, i.partition("/")[0], f"audio/{i}", "name", 0.9, 32000, 1, digest) for i, digest in rows),
    )
    write_rows(folder / "captions.csv", CAPTIONS, ((f"{i}#1", i, caption(n)) for n, i in enumerate(ids)))
    write_rows(folder / "sources.csv", SOURCES, ((i, "freesound", str(n)) for n, i in enumerate(ids)))
    (folder / "list.txt").write_text("\n".join(str(2 * number) for number in range(clips)) + "\n")


# --- what follows the corpus stage ------------------------------------------------------------------------------------


def clips_of_a_split(folder: Path) -> None:
    """Read the clips to train on, and digest them."""
    from earwitness.corpora.tables import audio_digest, clips_of

    audio_digest(clips_of(folder / "clips.csv", "development", "the benchmark"))


def captions_of_a_split(folder: Path) -> None:
    """Read the captions to train on."""
    from earwitness.corpora.tables import captions_by_clip, clips_of

    captions_by_clip(folder / "captions.csv", clips_of(folder / "clips.csv", "development", "the benchmark")["clip_id"])


def plan_of_an_extraction(folder: Path) -> None:
    """Divide the clips to train on into shards, as extraction does before it opens a recording."""
    from earwitness.corpora.tables import clips_of
    from earwitness.features.stage import feature_provenance, shards_of

    options = validated("features", FEATURE)
    clips = clips_of(folder / "clips.csv", "development", "the benchmark")
    sum(1 for _ in shards_of(options, clips, folder, folder / "shards", feature_provenance(options, clips)))


def text_stage(folder: Path) -> None:
    """Make the vocabulary and the word vectors, in one pass."""
    from earwitness.text.stage import prepare_text

    options = VocabularyOptions.model_validate({"word2vec": {"size": 32, "passes": 1}})
    tables = (folder / "clips.csv", folder / "captions.csv")
    out = {"vocabulary": folder / "vocabulary.json", "word2vec": folder / "word2vec.bin"}
    prepare_text(options, tables[0].parent, out)


def leak_audit(folder: Path) -> None:
    """Look the clips up in a list of as many Freesound ids."""
    from earwitness.leaks.audit import audit

    lists = {"list": IdListOptions(files=[str(folder / "list.txt")], kind="freesound")}
    audit(folder, lists, {}, folder / "leaks.json")


READERS = (clips_of_a_split, captions_of_a_split, plan_of_an_extraction, text_stage, leak_audit)


def many_files(folder: Path, clips: int) -> None:
    """A folder of so many files, links to a few, and a table of so many rows."""
    sound = folder / "data" / "0.wav"
    sound.parent.mkdir()
    soundfile.write(sound, [0.0] * SAMPLES, RATE)
    with (folder / "data" / "clips.csv").open("w", encoding="utf-8") as table:
        table.write("file_name,caption,split\n")
        for number in range(clips):
            if number % 50_000 == 0:
                origin = folder / "data" / f"{number}.flac"  # a file system bounds the names one file may have
                origin.write_bytes(sound.read_bytes())
            os.link(origin, folder / "data" / f"clip{number:07d}.flac")
            table.write(f"clip{number:07d}.flac,{caption(number)},development\n")


def snakemake(folder: Path) -> None:
    """The dry run itself, from the configuration to the list of jobs."""
    entry = {"layout": "folder", "audio": str(folder / "data"), "table": str(folder / "data" / "clips.csv")}
    (folder / "config.json").write_text(json.dumps({"datasets": {"many": entry}}))
    command = [sys.executable, "-m", "snakemake", "--dry-run", "results/many/cl4ac/metrics.json"]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2", "--quiet", "all"]
    command += ["--configfile", str(ROOT / "config" / "config.yaml"), str(folder / "config.json")]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


# --- measuring --------------------------------------------------------------------------------------------------------


def measured(what: str, clips: int, work: Callable[[], None]) -> Row:
    """Do the work in a fresh process, and take its time and its peak of memory, or its child's if that is higher."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        row = Row(what, clips, *pool.submit(_run, work).result())
    print(row, flush=True)
    return row


def _run(work: Callable[[], None]) -> tuple[float, float]:
    start = time.perf_counter()
    with redirect_stderr(io.StringIO()):  # progress bars
        work()
    seconds = time.perf_counter() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own = int(status["VmHWM"].split()[0])
    return seconds, max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024


def run(sizes: list[int], rows: int) -> list[Row]:
    """Measure the corpus stage at each size, and what follows it on so many rows and on a tenth of them."""
    found = []
    for clips in sizes:
        with tempfile.TemporaryDirectory(prefix="earwitness-") as place:
            root = Path(place) / "audio"
            root.mkdir()
            make_recordings(root, clips)
            found.append(measured("corpus stage", clips, partial(corpus_stage, root, Path(place) / "corpus")))
    for clips in (rows // 10, rows):
        with tempfile.TemporaryDirectory(prefix="earwitness-") as place:
            make_tables(Path(place), clips)
            for reader in READERS:
                name = reader.__name__.replace("_", " ")
                found.append(measured(name, clips, partial(reader, Path(place))))
            many_files(Path(place), clips)
            found.append(measured("dry run of the DAG", clips, partial(snakemake, Path(place))))
    return found


def growth(found: list[Row]) -> str:
    """For each measurement, the bytes that a clip more costs between its last two sizes."""
    lines = []
    for what in dict.fromkeys(row.what for row in found):
        *_, few, many = [None, *(row for row in found if row.what == what)]
        if few:
            each = (many.peak - few.peak) * 2**20 / (many.clips - few.clips)
            lines.append(f"{what:<34} {each:>9,.0f} bytes for each clip more")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000, 100_000], help="recordings to check")
    parser.add_argument("--rows", type=int, default=400_000, help="clips in the tables of what follows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    chosen = arguments()
    print(HEADER)
    found = run(chosen.sizes, chosen.rows)
    print(f"\n{growth(found)}")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(row) for row in found], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
