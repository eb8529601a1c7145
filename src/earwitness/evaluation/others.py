"""Scores made elsewhere: folders of ``earwitness score --out`` that stand beside a data set's experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earwitness import registry
from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.evaluation.compare import Seeds, scored_kind
from earwitness.evaluation.readers import ids
from earwitness.evaluation.scores import FILES, Scores, read_scores
from earwitness.files import read_json

ADVICE = "`earwitness score ... --out FOLDER` makes such folders."
SHOWN = 5  # clips of one side only, in a message


@dataclass(frozen=True)
class Other:
    """One set of scores: ``content`` is its metrics.json, and ``scores`` have the clip ids of the data set."""

    name: str
    folder: Path
    kind: str
    content: dict[str, Any]
    scores: Seeds


def kinds_of_others(others: Mapping[str, Path]) -> dict[str, str]:
    """The kind of prediction of each folder, by name; reads only the small files.

    Raises EarwitnessError that lists all folders that are missing or that ``earwitness score`` did not write.
    """
    kinds, problems = {}, []
    for name, folder in others.items():
        try:
            kinds[name] = _kind(folder)
        except EarwitnessError as error:
            problems.append(f"others.{name}: {error}")
    if problems:
        raise EarwitnessError(listed("Scores made elsewhere cannot be read:", problems, ADVICE))
    return kinds


def read_other(name: str, folder: Path, corpus: Path) -> Other:
    """Read scores made elsewhere, for a data set's evaluation split.

    Clips may be named with another folder, extension or letter case than in the data set.

    Args:
        corpus: the folder with the data set's tables.

    Raises EarwitnessError for files that are missing or damaged, and MismatchError for scores of other clips.
    """
    kind = kinds_of_others({name: folder})[name]
    scores = read_scores(folder)
    clips = registry.kind(kind).clip_ids(corpus)
    matched = ids.match(scores.ids, clips, "stem")
    lacking = sorted(set(clips) - set(matched.found.values()))
    if matched.problems or matched.lost or lacking:
        problems = [*matched.problems, *_clips("has", "lacks", matched.lost), *_clips("lacks", "has", lacking)]
        heading = f"others.{name}: {folder / FILES[0]} ({len(scores.ids)} clips) and {corpus / 'clips.csv'} "
        heading += f"({len(clips)} {kind} clips of the evaluation split) have different clips:"
        raise MismatchError(listed(heading, problems, "Score the whole evaluation split, and nothing else."))
    return Other(name, folder, kind, read_json(folder / "metrics.json"), Seeds([_renamed(scores, matched.found)]))


def _clips(scores: str, corpus: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    shown = ", ".join(map(repr, names[:SHOWN]))
    return [f"the first {scores} {len(names)} that the second {corpus}: {shown}{more}"] if names else []


def _kind(folder: Path) -> str:
    if not folder.is_dir():
        raise EarwitnessError(f"{folder} {'is a file, not a folder' if folder.exists() else 'does not exist'}")
    path = folder / "metrics.json"
    content = read_json(path) if path.is_file() else {}
    if isinstance(content, dict) and "seeds" in content:
        raise EarwitnessError(f"{folder} is the folder of an experiment; `experiments` shows those of this data set")
    if lacking := [file for file in FILES if not (folder / file).is_file()]:
        raise EarwitnessError(f"{folder} is not a folder of scores: it has no {' and no '.join(lacking)}")
    kind = scored_kind(content) if isinstance(content, dict) else ""
    if kind not in registry.KINDS:
        raise EarwitnessError(f"{path} does not say what was scored; `earwitness score` did not write it")
    if (content.get("provenance") or {}).get("settings", {}).get("classes"):
        raise EarwitnessError(f"{folder} has scores of classes (--classes), which no experiment predicts")
    return kind


def _renamed(scores: Scores, found: Mapping[str, str]) -> Scores:
    captions = {found[clip]: text for clip, text in scores.captions.items()}
    return replace(scores, ids=[found[clip] for clip in scores.ids], captions=captions)
