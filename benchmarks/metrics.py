"""Metrics against the programs they take their definitions from, and against the plain way, both in one run.

bleu, rouge_l, cider_d, meteor
             the function of `earwitness.metrics.captions` against pycocoevalcap's class, both on PTB tokens. METEOR's
             JVM is started and ended on both sides.
validation   CIDEr-D of new captions each time, against pycocoevalcap's Cider on the same strings. Our references are
             counted once, before the clock runs; the table says how long that takes.
spice        SPICE of new captions when the cache has the references, against the first time, with an empty cache. Only
             where the jars are (`EARWITNESS_SPICE_JARS`, else ../shared/data/spice).
retrieval    all metrics of both directions, against the ranks alone by one `np.argsort` a query.
retrieval_sort
             the same against the audio-retrieval benchmark's way: one `np.sort` a query, and the places of what is
             level with a relevant item averaged.
bootstrap    the intervals of all metrics from 2,000 resamples of the clips, once: there is nothing to compare with.

The captions are Clotho's evaluation table (1,045 clips, five references each), read from `--captions`; without that
file sentences from a small grammar. What is scored are captions in two halves: the first half of one of the clip's own
captions and the second half of another clip's, so that they are right in part, and hardly ever one of the references.

Sides take turns (baseline, ours, baseline, ours, ...), each once untimed but METEOR and SPICE, which start a JVM each
time; a figure is the median of the repetitions, by the wall clock and by the processor's time, that of ended JVMs
included. Values are compared after each turn.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge

from earwitness.errors import EarwitnessError
from earwitness.metrics import bootstrap, captions, grounding, java, retrieval, spice
from earwitness.metrics.cider import CiderD

SHARED = Path(__file__).parents[1] / "../shared/data"
TABLE = SHARED / "captions/clotho_v2/clotho_captions_evaluation.csv"
CLIPS, CAPTIONS = 1045, 5
QUICK = 60  # clips
METEOR_SECONDS = 600  # pycocoevalcap's waits for ever for a JVM that has died
WIDTH = 64  # of the embeddings whose cosines are ranked
PAIRS, FRAMES, HOP = 1300, 500, 0.02  # of grounding: three pairs a clip, clips of 10 s
GRAMMAR = (
    ("a", "the", "one"),
    ("small", "loud", "old", "distant", "heavy", "metallic", "young", "quiet"),
    ("dog", "bird", "engine", "bell", "door", "man", "machine", "crowd", "cat", "stream"),
    ("barks", "rings", "hums", "closes", "talks", "runs", "sings", "rattles", "calls", "stops"),
    ("near", "behind", "in", "by", "above"),
    ("a", "the"),
    ("road", "house", "forest", "room", "river", "street", "yard", "kitchen", "field", "hall"),
)

Texts = list[str]


@dataclass(frozen=True)
class Aim:
    """What a part is compared with, and what it has to reach."""

    label: str
    baseline: str
    limit: float  # 0 where nothing has to be reached
    faster: bool = False  # ours is to be ``limit`` times faster; else it may take ``limit`` of the baseline's time

    def ratio(self, ours: float, baseline: float) -> float:
        """The figure that ``limit`` is for."""
        return baseline / ours if self.faster else ours / baseline

    def __str__(self) -> str:
        if not self.limit:
            return ""
        return f"at least {self.limit:g} times faster" if self.faster else f"at most {self.limit:g} of its time"


AIMS = {
    "bleu": Aim("BLEU-1 to 4", "pycocoevalcap's Bleu", 1.1),
    "rouge_l": Aim("ROUGE-L", "pycocoevalcap's Rouge", 1.1),
    "cider_d": Aim("CIDEr-D", "pycocoevalcap's Cider", 1.1),
    "meteor": Aim("METEOR, with its JVM", "pycocoevalcap's Meteor", 1.1),
    "validation": Aim("CIDEr-D, repeated", "pycocoevalcap's Cider", 10, faster=True),
    "spice": Aim("SPICE, references cached", "the first time", 3, faster=True),
    "retrieval": Aim("retrieval", "np.argsort a query", 5, faster=True),
    "retrieval_sort": Aim("retrieval", "np.sort a query, averaged ties", 0, faster=True),
}
PARTS = (*AIMS, "bootstrap")
WITH_JVM = ("meteor", "spice")


@dataclass(frozen=True)
class Side:
    """Seconds of one side: the medians of the repetitions."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Row:
    """One part's result; ``pairs`` are the wall-clock ratios of single turns, least and most."""

    part: str
    ours: Side
    baseline: Side
    pairs: tuple[float, float]
    note: str = ""

    @property
    def ratio(self) -> Side:
        aim = AIMS[self.part]
        return Side(aim.ratio(self.ours.wall, self.baseline.wall), aim.ratio(self.ours.cpu, self.baseline.cpu))

    def __str__(self) -> str:
        aim = AIMS[self.part]
        sides = (
            (self.ours.wall, self.baseline.wall, self.ratio.wall),
            (self.ours.cpu, self.baseline.cpu, self.ratio.cpu),
        )
        figures = "".join(f" {ours:>8.3f} {baseline:>8.3f} {ratio:>6.2f}" for ours, baseline, ratio in sides)
        spread = f"{self.pairs[0]:.2f}-{self.pairs[1]:.2f}"
        line = f"{aim.label:<25} {aim.baseline:<30}{figures} {spread:>12}  {aim}".rstrip()
        return line + (f"\n    {self.note}" if self.note else "")


HEADER = (
    f"{'':<25} {'':<30} {'wall seconds':^24} {'CPU seconds':^24} {'range of':>12}\n"
    f"{'':<25} {'baseline':<30}" + 2 * f" {'ours':>8} {'its':>8} {'ratio':>6}" + f" {'wall ratios':>12}  expected"
)


# --- what is measured on ----------------------------------------------------------------------------------------------


def written(table: Path, clips: int) -> list[Texts]:
    """The captions of the first clips of a Clotho table, or as many of ``GRAMMAR`` where the table is absent."""
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as file:
            rows = [[row[f"caption_{n + 1}"] for n in range(CAPTIONS)] for row in csv.DictReader(file)]
        if len(rows) < clips:
            raise EarwitnessError(f"{table} has {len(rows)} clips, fewer than {clips}.")
        return rows[:clips]
    generator = np.random.default_rng(0)
    return [[" ".join(generator.choice(words) for words in GRAMMAR) for _ in range(CAPTIONS)] for _ in range(clips)]


def halves(references: list[Texts], seed: int) -> Texts:
    """A caption for each clip: half of one of its own, and half of another clip's."""
    generator = np.random.default_rng(seed)
    others = (np.arange(len(references)) + generator.integers(1, len(references), len(references))) % len(references)
    mixed = []
    for clip, other in enumerate(others):
        own, foreign = (references[n][generator.integers(CAPTIONS)].split() for n in (clip, other))
        mixed.append(" ".join(own[: (len(own) + 1) // 2] + foreign[len(foreign) // 2 :]))
    return mixed


def similarities(clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores [captions, clips], cosines of random embeddings that are close for a clip's own; each caption's clip."""
    generator = np.random.default_rng(0)
    owner = np.repeat(np.arange(clips), CAPTIONS)
    sounds = generator.standard_normal((clips, WIDTH), dtype=np.float32)
    texts = generator.standard_normal((len(owner), WIDTH), dtype=np.float32) + sounds[owner] / 2
    sounds, texts = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True) for matrix in (sounds, texts))
    return texts @ sounds.T, owner


def grounded(pairs: int) -> grounding.Evaluation:
    """The evaluation of noisy curves, one event a pair, three pairs a clip."""
    generator = np.random.default_rng(0)
    times = (np.arange(FRAMES) + 0.5) * HOP
    references = {n: [(onset, onset + length)] for n, (onset, length) in enumerate(generator.uniform(1, 4, (pairs, 2)))}
    curves = {}
    for pair, ((onset, offset),) in references.items():
        noise = np.convolve(generator.uniform(size=FRAMES), np.ones(25) / 25, mode="same")
        curves[pair] = 0.6 * noise + 0.4 * ((onset < times) & (times < offset))
    return grounding.evaluate(curves, references, hop=HOP, clips={pair: pair // 3 for pair in references})


# --- the baselines ----------------------------------------------------------------------------------------------------


def published(name: str, candidates: Texts, references: list[Texts]) -> Any:
    """What pycocoevalcap's class gives for the items."""
    numbered = dict(enumerate(references)), {item: [text] for item, text in enumerate(candidates)}
    if name == "meteor":
        return published_meteor(*numbered)
    if name == "bleu":
        return Bleu(4).compute_score(*numbered, verbose=0)[1]
    return {"rouge_l": Rouge, "cider_d": Cider}[name]().compute_score(*numbered)[1]


def published_meteor(references: dict, candidates: dict, seconds: float = METEOR_SECONDS) -> list[float]:
    """pycocoevalcap's Meteor from the start of its JVM to its end; EarwitnessError if that is not done in time.

    Its class keeps its lock when the JVM is gone, and then waits for this lock while it is thrown away.
    """
    with java_on_the_path():
        scorer = Meteor()
    ended = threading.Timer(seconds, scorer.meteor_p.kill)
    ended.start()
    try:
        return scorer.compute_score(references, candidates)[1]
    except (OSError, ValueError) as error:
        with suppress(OSError):
            scorer.meteor_p.stdin.close()  # what it could not send any more
        raise EarwitnessError(f"pycocoevalcap's Meteor was not done after {seconds:g} s or died.") from error
    finally:
        ended.cancel()
        with suppress(RuntimeError):
            scorer.lock.release()


@contextmanager
def java_on_the_path() -> Iterator[None]:
    """Programs find the Java that pip brings."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(java.java().parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def by_argsort(scores: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best ranks of both directions from a ranked list for each query; ties go by chance."""
    texts, clips = scores.shape
    t2a, a2t, place = np.empty(texts), np.empty(clips), np.empty(texts)
    for query in range(texts):
        t2a[query] = 1 + np.flatnonzero(np.argsort(-scores[query]) == owner[query])[0]
    for query in range(clips):
        place[np.argsort(-scores[:, query])] = np.arange(texts)
        a2t[query] = 1 + place[query * CAPTIONS : (query + 1) * CAPTIONS].min()
    return t2a, a2t


def by_sort(scores: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best ranks of both directions from the sorted distances of each query, averaged over ties."""
    texts, clips = scores.shape
    t2a, a2t = np.empty(texts), np.empty(clips)
    for query in range(texts):
        distances = -scores[query]
        t2a[query] = 1 + np.flatnonzero(np.sort(distances) - distances[owner[query]] == 0).mean()
    for query in range(clips):
        distances = -scores[:, query]
        ordered, own = np.sort(distances), distances[query * CAPTIONS : (query + 1) * CAPTIONS]
        a2t[query] = 1 + min(np.flatnonzero(ordered - distance == 0).mean() for distance in own)
    return t2a, a2t


# --- measuring --------------------------------------------------------------------------------------------------------


class Bench:
    """All parts on so many clips."""

    def __init__(self, table: Path, clips: int, repetitions: int, jars: str | os.PathLike = "auto"):
        self.clips, self.repetitions, self.jars = clips, repetitions, jars
        self.source = f"captions of {table.name}" if table.is_file() else "captions of a small grammar"
        texts = written(table, clips)
        new = [halves(texts, seed) for seed in range(repetitions + 1)]
        tokens = iter(java.ptb_tokenize([text for group in (*texts, *new) for text in group]))
        self.references = [[next(tokens) for _ in group] for group in texts]
        self.candidates = [[next(tokens) for _ in group] for group in new]
        self.written = texts, new

    def run(self, part: str) -> list[Row | str]:
        """The results of a part, or a line that says why there are none."""
        try:
            match part:
                case "validation":
                    return [self.validation()]
                case "spice":
                    return [self.spice()]
                case "retrieval" | "retrieval_sort":
                    return [self.retrieval(part)]
                case "bootstrap":
                    return self.bootstrap()
                case _:
                    return [self.caption_metric(part)]
        except EarwitnessError as error:
            return [f"{part} was not measured: {error}"]

    def caption_metric(self, name: str) -> Row:
        """One of our functions against pycocoevalcap's class."""

        def ours(turn: int) -> np.ndarray:
            return getattr(captions, name)(self.candidates[turn], self.references)[1]

        return side_by_side(name, ours, lambda turn: published(name, self.candidates[turn], self.references), self)

    def validation(self) -> Row:
        """New captions each time against references that are counted once."""
        built, scorer = _timed(lambda _: CiderD(self.references), 0)
        theirs = partial(published, "cider_d", references=self.references)
        row = side_by_side(
            "validation",
            lambda turn: scorer.score(self.candidates[turn]),
            lambda turn: theirs(candidates=self.candidates[turn]),
            self,
        )
        return replace(row, note=f"counting the references once, before, takes {built.cpu:.3f} s (CPU)")

    def spice(self) -> Row:
        """New captions when the cache has the references, after the first time with an empty cache."""
        jars = spice.find(self.jars)
        with tempfile.TemporaryDirectory(prefix="earwitness-") as folder:

            def timed(turn: int, captions_of: int) -> None:
                settings = spice.Settings(jars, Path(folder, str(turn)), 60)
                spice.spice(self.candidates[captions_of], self.references, settings)

            return side_by_side("spice", lambda turn: timed(turn, turn + 1), lambda turn: timed(turn, turn), self)

    def retrieval(self, part: str) -> Row:
        """Five captions a clip in both directions."""
        scores, owner = similarities(self.clips)

        def ours(_: int) -> np.ndarray:
            ranks = retrieval.evaluate(scores, owner, range(self.clips)).ranks
            return np.concatenate([ranks["t2a"].best(), ranks["a2t"].best()])

        theirs = by_sort if part == "retrieval_sort" else by_argsort
        return side_by_side(part, ours, lambda _: np.concatenate(theirs(scores, owner)), self)

    def bootstrap(self) -> list[str]:
        """Seconds for the intervals of all caption metrics, and of PSDS."""
        texts, new = self.written
        off = captions.Tools(spice="off", similarity="off", fluency="off")
        scored = captions.evaluate(dict(enumerate(new[0])), dict(enumerate(texts)), off)
        found = {f"{len(scored.statistics)} caption metrics, {self.clips:,} clips": scored.statistics}
        pairs = PAIRS * self.clips // CLIPS
        curves = grounded(pairs)
        area = {name: statistic for name, statistic in curves.statistics.items() if name.startswith("psds")}
        lines = [] if area else [f"PSDS was not resampled: {curves.metrics['psds']['reason']}"]
        if area:
            found[f"{len(area)} PSDS, {pairs:,} pairs of {len(curves.ids):,} clips"] = area
        for what, metrics in found.items():
            took, _ = _timed(lambda _, m=metrics: _intervals(m), 0)
            lines.append(f"{bootstrap.RESAMPLES:,} resamples: {what}: {took.wall:.2f} s ({took.cpu:.2f} s CPU)")
        return lines


def _intervals(metrics: dict) -> None:
    for statistic in metrics.values():
        bootstrap.interval(bootstrap.resampled([statistic]))


def side_by_side(part: str, ours: Callable[[int], Any], theirs: Callable[[int], Any], bench: Bench) -> Row:
    """Time both sides in turn, the baseline first; both get the number of the turn, and must give the same."""
    seconds: list[list[Side]] = [[], []]
    if part not in WITH_JVM:
        theirs(0), ours(0)
    for turn in range(bench.repetitions):
        say(f"{AIMS[part].label}: {turn + 1}/{bench.repetitions}")
        baseline, expected = _timed(theirs, turn)
        own, found = _timed(ours, turn)
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9, err_msg=part)
        for side, took in zip(seconds, (own, baseline), strict=True):
            side.append(took)
    say("")
    pairs = [AIMS[part].ratio(own.wall, baseline.wall) for own, baseline in zip(*seconds, strict=True)]
    return Row(part, *map(median, seconds), (min(pairs), max(pairs)))


def median(sides: list[Side]) -> Side:
    """The median of the wall clock and that of the processor."""
    return Side(statistics.median(side.wall for side in sides), statistics.median(side.cpu for side in sides))


def _timed(function: Callable[[int], Any], turn: int) -> tuple[Side, Any]:
    """What a function takes, with the programs that it started and that have ended; and what it gives."""
    wall, cpu = time.perf_counter(), _processor()
    with redirect_stdout(sys.stderr):
        result = function(turn)
    return Side(time.perf_counter() - wall, _processor() - cpu), result


def _processor() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def say(text: str) -> None:
    """What is going on, on one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="" if text else "\r", file=sys.stderr, flush=True)


def jars() -> str | os.PathLike:
    """Where SPICE's jars are: what the variable says, else beside the repository."""
    return "auto" if spice.VARIABLE in os.environ else SHARED / "spice"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to time (default: all)")
    parser.add_argument("--captions", type=Path, metavar="CSV", default=TABLE, help="a table as Clotho's are")
    parser.add_argument("--repetitions", type=int, help="timed runs of each side (default: 5, with a JVM 3)")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} clips, one run of each side")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    return parser.parse_args()


def main() -> None:
    """Run from the command line."""
    chosen = arguments()
    clips = QUICK if chosen.quick else CLIPS
    repetitions = chosen.repetitions or (1 if chosen.quick else 5)
    bench = Bench(chosen.captions, clips, repetitions, jars())
    with_jvm = chosen.repetitions or min(3, repetitions)
    turns = f"{repetitions} turns, of METEOR and SPICE {with_jvm}"
    print(f"{clips:,} clips, {CAPTIONS} references each, {bench.source}; {turns}\n\n{HEADER}", flush=True)
    found = []
    for part in chosen.parts:
        bench.repetitions = with_jvm if part in WITH_JVM else repetitions
        found += (lines := bench.run(part))
        print(*lines, sep="\n", flush=True)
    if chosen.json:
        results = [asdict(row) | {"ratio": asdict(row.ratio)} if isinstance(row, Row) else row for row in found]
        content = {"clips": clips, "repetitions": repetitions, "results": results}
        chosen.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
