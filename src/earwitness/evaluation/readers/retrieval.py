"""Similarities or ranked lists of captions and clips, from files of any system (``earwitness score retrieval``)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earwitness.corpora.csv_reader import open_sheet, shown
from earwitness.corpora.records_reader import CSV, JSON
from earwitness.corpora.tables import caption_id
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers import ids, matrices, ranked
from earwitness.evaluation.readers.matrices import ARRAYS, Matrix
from earwitness.evaluation.readers.queries import Captions, clip_of, read_captions, read_clips, relevant_to
from earwitness.evaluation.readers.ranked import Ranked, RankedList
from earwitness.evaluation.readers.tables import (
    EXTENSIONS,
    HDF5,
    enumerated,
    open_table,
    read_json,
    refuse,
    unknown_format,
)
from earwitness.evaluation.relevance import evaluate, lacking
from earwitness.evaluation.retrieval import PAIRS
from earwitness.evaluation.scores import Scored
from earwitness.metrics import retrieval as metrics

SUBSET = "--subset ignores captions that are not scored (they are counted)."


@dataclass(frozen=True)
class RetrievalFiles:
    """The files to score, and how to read them; each field is an argument or option of the command line.

    Attributes:
        scores: similarities [captions, clips] (HDF5, npz, npy, csv, json), or ranked clips of each caption (csv, json).
        captions: which clip each caption was written for; needed where the captions' ids do not contain it.
        relevant: all clips that are relevant to a query, a row for each query and clip, or for each query with a list
            (``query``, ``audio_filenames``, as in DCASE 2025); None for the caption's clip.
        clips: all clips that could be retrieved; they give the order of the columns of a matrix without names.
        ties: ``expected`` or ``benchmark``, how items that score alike count (``earwitness.metrics.retrieval``).
        match: how ids are compared: ``exact``, or ``stem``: without folder, extension, letter case and blanks.
        subset: ignore captions that are not scored, or not in ``relevant`` (they are counted); else they are an error.
    """

    scores: Path
    captions: Path | None = None
    relevant: Path | None = None
    clips: Path | None = None
    ties: str = "expected"
    match: str = "exact"
    subset: bool = False


@dataclass(frozen=True)
class Query:
    """A scored caption with its clip and the clips ranked for it; ``text`` is "" where it is not known."""

    id: str
    clip: str
    text: str
    ranked: list[str]


def score(files: RetrievalFiles) -> Scored:
    """Read, match and score.

    Raises EarwitnessError that lists all offenders where files cannot be read or do not fit each other.

    >>> scored = score(RetrievalFiles(Path("similarity.h5"), Path("captions.csv")))  # doctest: +SKIP
    >>> scored.evaluation.metrics["t2a_r1"]["value"]  # doctest: +SKIP
    """
    captions, clips = read_captions(files.captions), read_clips(files.clips)
    with _opened(files.scores) as found:
        refuse(found.problems)
        by_kind: Any = _score_lists if isinstance(found, Ranked) else _score_matrix
        evaluation, counts, notes = by_kind(found, captions, clips, files)
    pools = {f"{way}_pool": size for way, size in evaluation.pool.items() if way == "t2a" or size is not None}
    skipped = {f"{way}_queries_skipped": len(names) for way, names in evaluation.skipped.items() if names}
    scored = {f"{way}_queries": len(names) for way, names in evaluation.queries.items() if names}
    if files.relevant is not None:
        counts = counts | {PAIRS: len(evaluation.ranks["t2a"].above)}
    inputs = {"scores": files.scores, "references": files.captions, "relevant": files.relevant, "clips": files.clips}
    return Scored(
        evaluation,
        "score retrieval",
        {name: path for name, path in inputs.items() if path is not None},
        {"match": files.match, "subset": files.subset, "ties": files.ties},
        {"clips": len(evaluation.ids), **scored, **skipped, **pools, **{name: n for name, n in counts.items() if n}},
        [*notes, *evaluation.notes],
    )


@contextmanager
def _opened(path: Path) -> Iterator[Matrix | Ranked]:
    """The matrix or the ranked lists of a file, which stays open meanwhile."""
    if path.suffix.lower() in (*HDF5, *ARRAYS):
        with matrices.open_matrix(path) as matrix:
            yield matrix
    else:
        yield _read(path)


def _read(path: Path) -> Matrix | Ranked:
    """The matrix or the ranked lists of a csv, json or jsonl file."""
    kind = path.suffix.lower()
    if kind not in EXTENSIONS:
        return Matrix(path, problems=[f"{path.name}: {unknown_format((*EXTENSIONS, *ARRAYS))}"])
    if kind in CSV and not ranked.is_ranked(open_sheet(path)[0].columns):
        return matrices.read_csv(path)
    if kind in JSON:
        content, problems = read_json(path)
        if problems:
            return Matrix(path, problems=problems)
        if isinstance(content, dict) and any(name in content for name in matrices.SIMILARITY):
            return matrices.from_json(path, content)
        if ranked.is_mapping(content):
            return ranked.from_json(path, content)
    table = open_table(path)
    if table.problems or ranked.is_ranked(table.columns):
        return ranked.read_ranked(table)
    what = 'neither a matrix ("similarity", "caption_ids", "clip_ids") nor ranked lists (caption, fname_1 ...)'
    return Matrix(path, problems=[f"{path.name}: holds {what}"])


def _score_matrix(
    matrix: Matrix, captions: Captions | None, clips: list[str] | None, files: RetrievalFiles
) -> tuple[Any, dict[str, int], list[str]]:
    """The evaluation, counts and notes of a matrix."""
    columns, names, notes = _axes(matrix, captions, clips)
    where = matrix.path.name
    found = {name: captions.find(name) if captions else [] for name in names}
    left, problems = [], []
    if captions:
        other, scored = captions.path.name, {several[0].id for several in found.values() if several}
        problems += [
            f"{where}: {len(found[name])} captions of {other} have the text {shown(name)}; use their ids"
            for name in names
            if len(found[name]) > 1
        ]
        problems += [
            f"{where}: caption {shown(name)} is not in {other}{captions.hint(name)}"
            for name in names
            if not found[name]
        ]
        left = [caption for caption in captions.all if caption.id not in scored]
        problems += [
            f"{other}, row {caption.row}: the caption {shown(caption.text or caption.id)} has no row in {where}"
            for caption in ([] if files.subset else left)
        ]
    refuse(problems, SUBSET if left and not files.subset else "")
    owners = [found[name][0].clip if found[name] else clip_of(name) for name in names]
    matched = ids.match(owners, columns, files.match)
    lost = set(matched.lost)
    how = "" if captions else "; captions are called {clip}#1, {clip}#2 ..., or the table CAPTIONS names their clips"
    problems = [
        f"{where}: caption {shown(name)} belongs to clip {shown(clip)}, which is not among the clips"
        f"{matched.hint(clip)}{how}"
        for name, clip in zip(names, owners, strict=True)
        if clip in lost
    ]
    refuse([*matched.problems, *problems], ids.ADVICE if matched.alike else "")
    relevant = None
    if files.relevant is not None:
        texts = {name: found[name][0].text if found[name] else "" for name in names}
        relevant = relevant_to(files.relevant, texts, captions, columns, files.match, **_leaving(files))
    owners = [matched.found[clip] for clip in owners]
    evaluation = evaluate(matrix.scores, names, owners, columns, relevant, files.ties)
    counts = {"clips_matched_by_stem": matched.changed, "captions_not_in_the_scores": len(left)}
    return evaluation, counts | {"captions_not_in_relevant": lacking(names, relevant)}, notes


def _leaving(files: RetrievalFiles) -> dict[str, bool]:
    """What is left out of a table of relevant clips, and of the captions that it lacks."""
    return {"others": files.subset, "partial": files.subset}


def _axes(matrix: Matrix, captions: Captions | None, clips: list[str] | None) -> tuple[list[str], list[str], list[str]]:
    """The names of the columns and of the rows, from the file or else from the tables in their order; and notes."""
    where, (rows, width) = matrix.path.name, matrix.scores.shape
    notes, problems = [], []
    if matrix.clips is not None and clips is not None:
        problems.append(f"{where} names its clips; --clips is for matrices that do not, and for ranked lists")
    names, columns = matrix.captions, matrix.clips
    if names is None and captions is not None:
        names = [caption.id for caption in captions.all]
        notes.append(f"{where} does not name its captions: they are taken in the order of {captions.path.name}")
    if columns is None and clips is not None:
        columns = clips
        notes.append(f"{where} does not name its clips: they are taken in the order of the clips")
    elif columns is None and captions is not None:
        columns = list(dict.fromkeys(caption.clip for caption in captions.all))
        notes.append(f"{where} does not name its clips: they are taken in the order of {captions.path.name}")
    if names is None:
        problems.append(f"{where} does not name its captions (caption_ids); give a table CAPTIONS in their order")
    if columns is None:
        problems.append(f"{where} does not name its clips (clip_ids); give them with --clips or the table CAPTIONS")
    for what, found, number in (("captions", names, rows), ("clips", columns, width)):
        if found is not None and len(found) != number:
            hint = "; transposed, perhaps" if len(found) in (rows, width) else ""
            shape = f"the scores have the shape {(rows, width)} (captions, clips)"
            problems.append(f"{where}: {shape}, but there are names of {len(found)} {what}, not {number}{hint}")
    refuse(problems)
    assert columns is not None and names is not None  # or it is a problem
    return columns, names, notes


def _score_lists(
    found: Ranked, captions: Captions | None, clips: list[str] | None, files: RetrievalFiles
) -> tuple[Any, dict[str, int], list[str]]:
    """The evaluation, counts and notes of ranked lists."""
    if files.ties != "expected":
        raise EarwitnessError(f"{found.path.name} has ranked lists, in which nothing ties: --ties does not apply.")
    if found.by_clip:
        queries, left = _by_clip(found, captions, files)
    elif captions is not None:
        queries, left = _by_caption(found, captions, files.subset, clips)
    else:
        queries, left = _by_id(found, clips), 0
    owners = [query.clip for query in queries]
    known = list(dict.fromkeys(clips if clips is not None else owners))
    matched = ids.match((clip for query in queries for clip in query.ranked), known, files.match)
    matched_owners = ids.match(owners, known, files.match)
    # Without a known pool any clip may be retrieved, but one that is spelt like a caption's clip is probably a mistake.
    lost, what = (matched.alike, "is no caption's clip") if clips is None else (matched.lost, "is not among the clips")
    problems = [
        *matched.problems,
        *(f"{found.path.name}: clip {shown(clip)} {what}{matched.hint(clip)}" for clip in lost),
        *matched_owners.problems,
        *(
            f"{found.path.name}: clip {shown(clip)} is not among the clips{matched_owners.hint(clip)}"
            for clip in matched_owners.lost
        ),
        *_bad_lists(found, matched),
    ]
    refuse(problems, ids.ADVICE if matched.alike or matched_owners.alike else "")
    names = [query.id for query in queries]
    lists = [[matched.found.get(clip, clip) for clip in query.ranked] for query in queries]
    owners = [matched_owners.found[clip] for clip in owners]
    relevant = None
    if files.relevant is not None:
        texts = {query.id: query.text for query in queries}
        pool = dict.fromkeys([*known, *(clip for line in lists for clip in line)])
        relevant = relevant_to(files.relevant, texts, captions, pool, files.match, **_leaving(files))
    kept = [number for number, name in enumerate(names) if relevant is None or name in relevant]
    evaluation = metrics.evaluate_top(
        [lists[number] for number in kept],
        [owners[number] for number in kept],
        clips=clips,
        captions=[names[number] for number in kept],
        relevant=relevant,
    )
    counted = Counter(" ".join(query.text.split()) for query in queries if query.text)
    shared = sum(number for number in counted.values() if number > 1)
    note = f"{shared} captions share their text with others: each is a query of its own, with the list of its text"
    counts = {"clips_matched_by_stem": matched.changed, "captions_left_out": left}
    counts["captions_not_in_relevant"] = lacking(names, relevant)
    notes = [note] if shared else []
    if clips is None and len(lists[0]) == len({*owners, *(clip for line in lists for clip in line)}):
        notes.append(
            f"Each list of {found.path.name} has all clips that are named: if there are no others, give their ids with "
            "--clips FILE, and the lists are complete rankings"
        )
    return evaluation, counts, notes


def _by_id(found: Ranked, clips: list[str] | None) -> list[Query]:
    """Queries whose ids name the clip: ``{clip}#{n}``, or the clip itself where each clip has one query."""
    known = set(clips or ()) | {clip for line in found.lists for clip in line.clips}
    if all(clip_of(line.query) not in known for line in found.lists):
        raise EarwitnessError(
            f"The queries of {found.path.name}, such as {shown(found.lists[0].query)}, do not contain the clip they "
            "were written for. Give the table that does: earwitness score retrieval SCORES CAPTIONS (for example "
            "Clotho's captions)."
        )
    rows = defaultdict(list)
    for line in found.lists:
        rows[line.query].append(line.row)
    refuse([_several(found, several, query) for query, several in rows.items() if len(several) > 1])
    return [Query(line.query, clip_of(line.query), "", line.clips) for line in found.lists]


def _by_clip(found: Ranked, captions: Captions | None, files: RetrievalFiles) -> tuple[list[Query], int]:
    """Queries that are named by their clip: its first row is its first caption, and so on; how many were left out."""
    rows: dict[str, list[RankedList]] = defaultdict(list)
    for line in found.lists:
        rows[line.query].append(line)
    theirs = (
        Counter(caption.clip for caption in captions.all) if captions else Counter(line.query for line in found.lists)
    )
    matched = ids.match(rows, theirs, files.match)
    where, other = found.path.name, captions.path.name if captions else ""
    problems = [
        f"{where}, row {rows[clip][0].row}: clip {shown(clip)} is not in {other}{matched.hint(clip)}"
        for clip in matched.lost
    ]
    asked = Counter({matched.found[clip]: len(lines) for clip, lines in rows.items() if clip in matched.found})
    problems += [
        f"{where}: clip {shown(clip)} has {asked[clip]} ranked lists, but {number} captions in {other}"
        for clip, number in theirs.items()
        if asked[clip] > number or (asked[clip] < number and not files.subset)
    ]
    refuse([*matched.problems, *problems], " ".join([*([ids.ADVICE] if matched.alike else []), SUBSET]))
    queries = [
        Query(caption_id(matched.found[clip], number), matched.found[clip], "", line.clips)
        for clip, lines in rows.items()
        for number, line in enumerate(lines, 1)
    ]
    return queries, sum(theirs.values()) - len(queries)


def _by_caption(found: Ranked, captions: Captions, subset: bool, clips: list[str] | None) -> tuple[list[Query], int]:
    """Queries by the captions that they are, and the number left out; captions with the same text are a query each.

    With ``subset``, of captions with the same text those of other splits are left out: their clip is not in the pool,
    which is all that is ranked anywhere where it is not given.
    """
    lists: dict[str, list[RankedList]] = defaultdict(list)
    pool = set(clips) if clips is not None else {clip for line in found.lists for clip in line.clips}
    where, other, problems = found.path.name, captions.path.name, []
    for line in found.lists:
        those = captions.find(line.query)
        if not those:
            what = f"the query {shown(line.query)} is not a caption of {other}{captions.hint(line.query)}"
            problems.append(f"{where}, row {line.row}: {what}")
        if subset:
            those = [caption for caption in those if caption.clip in pool] or those
        for caption in those:
            lists[caption.id].append(line)
    for lines in {tuple(id(line) for line in lines): lines for lines in lists.values() if len(lines) > 1}.values():
        if len(lines) > len(captions.find(lines[0].query)) or any(line.clips != lines[0].clips for line in lines):
            problems.append(_several(found, [line.row for line in lines], lines[0].query))
    left = [caption for caption in captions.all if caption.id not in lists]
    problems += [
        f"{other}, row {caption.row}: the caption {shown(caption.text or caption.id)} has no ranked list in {where}"
        for caption in ([] if subset else left)
    ]
    refuse(problems, SUBSET if left and not subset else "")
    scored = [caption for caption in captions.all if caption.id in lists]
    return [Query(c.id, c.clip, c.text, lists[c.id][0].clips) for c in scored], len(left)


def _several(found: Ranked, rows: Sequence[int | str], query: str) -> str:
    return f"{found.path.name}, {enumerated(rows)}: {len(rows)} ranked lists for the query {shown(query)}"


def _bad_lists(found: Ranked, matched: ids.Matched) -> list[str]:
    """Clips that a list has twice, and lists that are not as long as most are."""
    depth = Counter(len(line.clips) for line in found.lists).most_common(1)[0][0]
    problems = []
    for line in found.lists:
        where = f"{found.path.name}, row {line.row}"
        counted = Counter(matched.found.get(clip, clip) for clip in line.clips)
        problems += [
            f"{where}: clip {shown(clip)} is ranked more than once for the query {shown(line.query)}"
            for clip, number in counted.items()
            if number > 1
        ]
        if len(line.clips) != depth:
            what = f"has ranked clips up to rank {len(line.clips)}, most others up to {depth}"
            problems.append(f"{where}: the query {shown(line.query)} {what}")
    return problems
