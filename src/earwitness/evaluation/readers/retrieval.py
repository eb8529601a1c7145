"""``earwitness score retrieval``: similarities or ranked lists of captions and clips, from anybody's files."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from earwitness.corpora.csv_reader import open_sheet, shown
from earwitness.corpora.records_reader import CSV, JSON
from earwitness.corpora.tables import caption_id
from earwitness.errors import EarwitnessError
from earwitness.evaluation.readers import ids, matrices, ranked
from earwitness.evaluation.readers.matrices import ARRAYS, Matrix
from earwitness.evaluation.readers.queries import Captions, owner_by_rule, read_captions, read_clips, relevant_to
from earwitness.evaluation.readers.ranked import Ranked, RankedList
from earwitness.evaluation.readers.tables import EXTENSIONS, HDF5, enumerated, open_table, read_json, refuse
from earwitness.evaluation.scores import Scored
from earwitness.metrics import retrieval as metrics

SUBSET = "Captions that are not to be scored are left out, and counted, by --subset."

Query = tuple[str, str, str, list[str]]  # a scored caption: its id, its clip, its text or "", the clips ranked for it


def score(options: argparse.Namespace) -> Scored:
    """Read, match and score; EarwitnessError with all offenders for what cannot be."""
    captions, clips = read_captions(options.captions), read_clips(options.clips)
    with _opened(options.scores) as found:
        refuse(found.problems)
        if isinstance(found, Ranked):
            evaluation, counts, notes = _score_lists(found, captions, clips, options)
        else:
            evaluation, counts, notes = _score_matrix(found, captions, clips, options)
    pools = {f"{way}_pool": size for way, size in evaluation.pool.items() if way == "t2a" or size is not None}
    skipped = {f"{way}_queries_skipped": len(names) for way, names in evaluation.skipped.items() if names}
    scored = {f"{way}_queries": len(names) for way, names in evaluation.queries.items() if names}
    files = {"scores": options.scores, "references": options.captions}
    files |= {"relevant": options.relevant, "clips": options.clips}
    return Scored(
        evaluation,
        "score retrieval",
        {name: path for name, path in files.items() if path is not None},
        {"match": options.match, "subset": options.subset, "ties": options.ties},
        {"clips": len(evaluation.ids), **scored, **skipped, **pools, **{name: n for name, n in counts.items() if n}},
        [*notes, *evaluation.notes],
    )


@contextmanager
def _opened(path) -> Iterator[Matrix | Ranked]:
    """The matrix or the ranked lists of a file, which stays open meanwhile."""
    kind = path.suffix.lower()
    if kind in (*HDF5, *ARRAYS):
        with matrices.open_matrix(path) as matrix:
            yield matrix
    elif kind not in EXTENSIONS:
        known = ", ".join((*EXTENSIONS, *ARRAYS))
        yield Matrix(path, problems=[f"{path.name}: is of a kind that is not read; known are {known}"])
    elif kind in CSV and not ranked.is_ranked(open_sheet(path)[0].columns):
        yield matrices.read_csv(path)
    else:
        yield _from_json(path) if kind in JSON else _of_table(path)


def _from_json(path) -> Matrix | Ranked:
    content, problems = read_json(path)
    if problems:
        return Matrix(path, problems=problems)
    if isinstance(content, dict) and any(name in content for name in matrices.SIMILARITY):
        return matrices.from_json(path, content)
    return ranked.from_json(path, content) if ranked.is_mapping(content) else _of_table(path)


def _of_table(path) -> Matrix | Ranked:
    table = open_table(path)
    if table.problems or ranked.is_ranked(table.columns):
        return ranked.read_ranked(table)
    what = 'holds neither a matrix ("similarity", "caption_ids", "clip_ids") nor ranked lists (caption, fname_1 ...)'
    return Matrix(path, problems=[f"{path.name}: {what}"])


def _score_matrix(
    matrix: Matrix, captions: Captions | None, clips: list[str] | None, options: argparse.Namespace
) -> tuple[Any, dict[str, int], list[str]]:
    columns, names, notes = _axes(matrix, captions, clips)
    found = [captions.find(name) if captions else [] for name in names]
    problems = [
        f"{matrix.path.name}: {len(several)} captions of {captions.path.name} have the text {shown(name)}; name the ids"
        for name, several in zip(names, found, strict=True)
        if len(several) > 1
    ]
    if captions:
        problems += [
            f"{matrix.path.name}: caption {shown(name)} is not in {captions.path.name}{captions.hint(name)}"
            for name, several in zip(names, found, strict=True)
            if not several
        ]
    there = {several[0].id for several in found if several}
    left = [caption for caption in captions.all if caption.id not in there] if captions else []
    if not options.subset:
        problems += [
            f"{captions.path.name}, row {caption.row}: the caption {shown(caption.text or caption.id)} has no row in "
            f"{matrix.path.name}"
            for caption in left
        ]
    refuse(problems, advice=SUBSET if left and not options.subset else "")
    owners = [several[0].clip if several else owner_by_rule(name) for name, several in zip(names, found, strict=True)]
    matched = ids.match(owners, columns, options.match)
    refuse(_lost_owners(matrix, names, owners, matched, captions), advice=ids.ADVICE if matched.alike else "")
    owners = [matched.found[clip] for clip in owners]
    relevant = None
    if options.relevant is not None:
        texts = {name: several[0].text if several else "" for name, several in zip(names, found, strict=True)}
        relevant = relevant_to(options.relevant, texts, captions, columns, options.match, options.subset)
    evaluation = metrics.evaluate(matrix.scores, owners, columns, captions=names, relevant=relevant, ties=options.ties)
    return evaluation, {"clips_matched_by_stem": matched.changed, "captions_not_in_the_scores": len(left)}, notes


def _axes(matrix: Matrix, captions: Captions | None, clips: list[str] | None) -> tuple[list[str], list[str], list[str]]:
    """What names the columns and the rows: the file itself, else the tables in their order; and notes of the latter."""
    where, (rows, width) = matrix.path.name, matrix.scores.shape
    notes, problems = [], []
    if matrix.clips is not None and clips is not None:
        problems.append(f"{where} names its clips itself; --clips is for matrices that do not, and for ranked lists")
    names = matrix.captions
    if names is None and captions is not None:
        names = [caption.id for caption in captions.all]
        notes.append(f"{where} does not name its captions: they are taken in the order of {captions.path.name}")
    columns = clips if matrix.clips is None else matrix.clips
    if matrix.clips is None and columns is None and captions is not None:
        columns = list(dict.fromkeys(caption.clip for caption in captions.all))
    if matrix.clips is None and columns is not None:
        table = "the clips" if clips is not None else captions.path.name
        notes.append(f"{where} does not name its clips: they are taken in the order of {table}")
    if names is None:
        problems.append(
            f"{where} does not name its captions (caption_ids); name the table CAPTIONS that has their order"
        )
    if columns is None:
        problems.append(f"{where} does not name its clips (clip_ids); name them with --clips or the table CAPTIONS")
    for what, found, number in (("captions", names, rows), ("clips", columns, width)):
        if found is not None and len(found) != number:
            hint = "; transposed, perhaps" if len(found) in (rows, width) else ""
            told = f"{len(found)} {what} are named for {number}"
            problems.append(f"{where}: the scores have the shape {(rows, width)} (captions, clips), but {told}{hint}")
    refuse(problems)
    return columns, names, notes


def _lost_owners(
    matrix: Matrix, names: Sequence[str], owners: Sequence[str], matched: ids.Matched, captions: Captions | None
) -> list[str]:
    lost = set(matched.lost)
    how = "" if captions else "; captions are called {clip}#1, {clip}#2 ..., or the table CAPTIONS names their clips"
    return [
        *matched.problems,
        *(
            f"{matrix.path.name}: caption {shown(name)} is of clip {shown(clip)}, which is not among the clips"
            f"{ids.told(clip, matched)}{how}"
            for name, clip in zip(names, owners, strict=True)
            if clip in lost
        ),
    ]


def _score_lists(
    found: Ranked, captions: Captions | None, clips: list[str] | None, options: argparse.Namespace
) -> tuple[Any, dict[str, int], list[str]]:
    if options.ties != "average":
        raise EarwitnessError(
            f"{found.path.name} has ranked lists, without scores: nothing ties, --ties is not for them."
        )
    if found.by_clip:
        queries, left = _by_clip(found, captions, options)
    elif captions is not None:
        queries, left = _by_caption(found, captions, options.subset)
    else:
        queries, left = _by_rule(found, clips)
    owners = [owner for _, owner, _, _ in queries]
    known = list(dict.fromkeys(clips if clips is not None else owners))
    matched = ids.match((clip for *_, line in queries for clip in line), known, options.match)
    own = ids.match(owners, known, options.match)
    problems = [*_lost_clips(found, matched, clips is not None), *_lost_clips(found, own, True)]
    problems += _bad_lists(found, matched)
    refuse(problems, advice=ids.ADVICE if matched.alike or own.alike else "")
    names = [name for name, *_ in queries]
    lists = [[matched.found.get(clip, clip) for clip in line] for *_, line in queries]
    owners = [own.found[clip] for clip in owners]
    relevant = None
    if options.relevant is not None:
        texts = {name: text for name, _, text, _ in queries}
        there = dict.fromkeys([*known, *(clip for line in lists for clip in line)])
        relevant = relevant_to(options.relevant, texts, captions, there, options.match, options.subset)
    evaluation = metrics.evaluate_top(lists, owners, clips=clips, captions=names, relevant=relevant)
    counts = {"clips_matched_by_stem": matched.changed, "captions_left_out": left}
    return evaluation, counts, _shared_texts(queries)


def _by_rule(found: Ranked, clips: list[str] | None) -> tuple[list[Query], int]:
    """Queries whose ids tell the clip: ``{clip}#{n}``, or a clip itself where one query a clip is asked."""
    known = set(clips or ()) | {clip for line in found.lists for clip in line.clips}
    lost = [line for line in found.lists if owner_by_rule(line.query) not in known]
    if len(lost) == len(found.lists):
        raise EarwitnessError(
            f"The queries of {found.path.name}, such as {shown(found.lists[0].query)}, do not tell which clip they are "
            "of. Name the table that does: earwitness score retrieval SCORES CAPTIONS (Clotho's captions, say)."
        )
    refuse(_twice(found.path.name, found.lists))
    return [(line.query, owner_by_rule(line.query), "", line.clips) for line in found.lists], 0


def _by_clip(found: Ranked, captions: Captions | None, options: argparse.Namespace) -> tuple[list[Query], int]:
    """Queries that are named by their clip: its first row is its first caption, and so on."""
    rows = defaultdict(list)
    for line in found.lists:
        rows[line.query].append(line)
    theirs = (
        Counter(caption.clip for caption in captions.all) if captions else Counter(line.query for line in found.lists)
    )
    matched = ids.match(rows, theirs, options.match)
    where, other = found.path.name, captions.path.name if captions else ""
    problems = [*matched.problems]
    problems += [
        f"{where}, row {rows[clip][0].row}: clip {shown(clip)} is not in {other}{ids.told(clip, matched)}"
        for clip in matched.lost
    ]
    asked = Counter({matched.found[clip]: len(lines) for clip, lines in rows.items() if clip in matched.found})
    problems += [
        f"{where}: clip {shown(clip)} has {asked[clip]} ranked lists; {other} has {number} captions of it"
        for clip, number in theirs.items()
        if asked[clip] > number or (asked[clip] < number and not options.subset)
    ]
    advice = [ids.ADVICE] if matched.alike else []
    refuse(problems, advice=" ".join([*advice, "Captions that are not to be scored are left out by --subset."]))
    queries = [
        (caption_id(matched.found[clip], number), matched.found[clip], "", line.clips)
        for clip, lines in rows.items()
        for number, line in enumerate(lines, 1)
    ]
    return queries, sum(theirs.values()) - len(queries)


def _by_caption(found: Ranked, captions: Captions, subset: bool) -> tuple[list[Query], int]:
    """Queries by the captions that they are; each caption of a text that several share is a query of its own."""
    lists: dict[str, list[RankedList]] = defaultdict(list)
    where, other, problems = found.path.name, captions.path.name, []
    for line in found.lists:
        those = captions.find(line.query)
        if not those:
            told = f"the query {shown(line.query)} is no caption of {other}{captions.hint(line.query)}"
            problems.append(f"{where}, row {line.row}: {told}")
        for caption in those:
            lists[caption.id].append(line)
    for lines in {tuple(id(line) for line in lines): lines for lines in lists.values() if len(lines) > 1}.values():
        if len(lines) > len(captions.find(lines[0].query)) or any(line.clips != lines[0].clips for line in lines):
            told = enumerated([line.row for line in lines])
            problems.append(f"{where}, {told}: {len(lines)} ranked lists for the query {shown(lines[0].query)}")
    left = [caption for caption in captions.all if caption.id not in lists]
    if not subset:
        problems += [
            f"{other}, row {caption.row}: the caption {shown(caption.text or caption.id)} has no ranked list in {where}"
            for caption in left
        ]
    refuse(problems, advice=SUBSET if left and not subset else "")
    scored = [caption for caption in captions.all if caption.id in lists]
    return [(c.id, c.clip, c.text, lists[c.id][0].clips) for c in scored], len(left)


def _twice(where: str, lists: Sequence[RankedList]) -> list[str]:
    rows = defaultdict(list)
    for line in lists:
        rows[line.query].append(line.row)
    return [
        f"{where}, {enumerated(several)}: {len(several)} ranked lists for the query {shown(query)}"
        for query, several in rows.items()
        if len(several) > 1
    ]


def _bad_lists(found: Ranked, matched: ids.Matched) -> list[str]:
    """Clips that stand twice in a list, and lists that are not as long as most are."""
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
            told = f"has ranked clips up to rank {len(line.clips)}, most others up to {depth}"
            problems.append(f"{where}: the query {shown(line.query)} {told}")
    return problems


def _lost_clips(found: Ranked, matched: ids.Matched, pool_known: bool) -> list[str]:
    """Clips that are not in a known pool; without one those that are probably a caption's own, spelt otherwise."""
    lost = matched.lost if pool_known else matched.alike
    what = "is not among the clips" if pool_known else "is no caption's clip"
    told = (f"{found.path.name}: clip {shown(clip)} {what}{ids.told(clip, matched)}" for clip in lost)
    return [*matched.problems, *told]


def _shared_texts(queries: Sequence[Query]) -> list[str]:
    counted = Counter(" ".join(text.split()) for _, _, text, _ in queries if text)
    shared = sum(number for number in counted.values() if number > 1)
    told = "captions have a text that others have too: each is a query of its own, with the list of its text"
    return [f"{shared} {told}"] if shared else []
