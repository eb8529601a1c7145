"""Any recordings captioned by a trained model.

Recordings are worked on in parts, so that memory does not grow with their number; after one that fails others go on.
"""

from __future__ import annotations

import glob
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from earwitness.audio.formats import EXTENSIONS
from earwitness.audio.sound import AudioError
from earwitness.corpora.paths import recordings_below
from earwitness.corpora.state import is_passed_over
from earwitness.errors import EarwitnessError, FullDiskError, MismatchError
from earwitness.prediction.clips import Clips
from earwitness.serving.models import load_captioner
from earwitness.serving.recordings import Features, Recording, placed

PART = 256  # recordings, for each core, that are checked before their features are computed
RECURSIVE = "**"  # in patterns
ROUNDING = 0.01  # seconds by which a recording may be longer than what is read, and not be called cut


@dataclass(frozen=True, slots=True)
class Captioned:
    """The caption of a recording.

    Attributes:
        seconds: length of the recording.
        score: as of the model; higher is better, and comparable between recordings of one model alone.
        cut: whether the caption is of the recording's beginning, as the model reads no more.
    """

    path: Path
    seconds: float
    caption: str
    score: float
    cut: bool = False


class FileCaptioner:
    """A trained captioner, for any number of recordings.

    Args:
        model: a seed's folder.
        weights: files of extractors' weights, where they are not in resources/checkpoints.
        cut: caption the beginning of recordings that are longer than the model reads, which fail otherwise.
        cores: processes that compute features, where there are enough recordings.
        progress: show a progress bar.
    """

    def __init__(
        self, model: Path, weights: Sequence[Path] = (), cut: bool = False, cores: int = 1, progress: bool = True
    ):
        self.model = load_captioner(model)
        self.features = Features(self.model.made_by, weights, cut, model)
        self.cores, self.progress = cores, progress

    def caption(self, paths: Sequence[Path]) -> Iterator[Captioned | AudioError]:
        """Each recording's caption, or why it has none, in order; a recording under several paths comes once."""
        given = dict[Path, Path]()
        for path in paths:
            given.setdefault(placed(path), path)
        places = list(given)
        shown: Any = {"mininterval": 0.5, "file": sys.stderr, "disable": not self.progress}
        bar: Any = tqdm(desc="Captioning", total=len(places), unit="clip", **shown)
        with bar:
            for start in range(0, len(places), size := PART * self.cores):
                for found in self._part({place: given[place] for place in places[start : start + size]}):
                    bar.update()
                    yield found

    def remarks(self) -> list[str]:
        """What the model, and retrievers that make its features, remark on the recordings since this was last asked."""
        return [*self.features.remarks(), *self.model.remarks()]

    def _part(self, given: dict[Path, Path]) -> Iterator[Captioned | AudioError]:
        root = Path(next(iter(given)).anchor)
        names = {str(place.relative_to(root)): path for place, path in given.items()}
        done, good = dict[str, Captioned | AudioError](), list[Recording]()
        for name, found in zip(names, self.features.checked(root, list(names), self.cores), strict=True):
            if isinstance(found, AudioError):
                done[name] = type(found)(names[name], found.reason)
            else:
                good.append(found)
        coming = iter(names)
        following = next(coming, None)
        for recording, result in self._captions(root, good):
            if isinstance(result, str):
                done[recording.path] = AudioError(names[recording.path], result)
            else:
                cut = recording.seconds > self.features.seconds + ROUNDING
                done[recording.path] = Captioned(names[recording.path], recording.seconds, *result, cut)
            while following in done:
                yield done.pop(following)
                following = next(coming, None)
        yield from (done[name] for name in (following, *coming) if name is not None)

    def _captions(
        self, root: Path, recordings: Sequence[Recording]
    ) -> Iterator[tuple[Recording, tuple[str, float] | str]]:
        """Each recording with its caption and score, or with why there is none, as they are done."""
        left = {recording.path: recording for recording in recordings}
        while left:
            try:
                with (
                    tempfile.TemporaryDirectory(prefix="earwitness-") as folder,
                    closing(self.features.blocks(root, list(left.values()), Path(folder), self.cores)) as blocks,
                ):
                    for part, clips in blocks:
                        for recording, result in zip(part, self._finite_captions(clips), strict=True):
                            del left[recording.path]
                            yield recording, result
            except (MismatchError, FullDiskError):  # features that are not the model's: it fails for all recordings
                raise
            except AudioError as error:
                failed = left.pop(str(Path(error.path).relative_to(root)))
                yield failed, error.reason
            except (EarwitnessError, RuntimeError) as error:  # torch raises the latter, such as for a clip too short
                message = str(error)
                if "CUDA error" in message and "out of memory" not in message:  # after it nothing runs on the GPU
                    raise
                if len(left) == 1:
                    yield left.popitem()[1], f"the model failed: {(message.splitlines() or [repr(error)])[0]}"
                break
        # Which one failed is not known, and others may be fine: each half is tried by itself.
        rest = list(left.values())
        for half in (rest[: len(rest) // 2], rest[len(rest) // 2 :]):
            yield from self._captions(root, half) if half else ()

    def _finite_captions(self, clips: Clips) -> list[tuple[str, float]]:
        found = [(caption, float(score)) for caption, score in self.model.caption(clips)]
        name = f"{type(self.model).__name__}.caption"
        if len(found) != len(clips):
            raise EarwitnessError(f"{name} gave {len(found)} captions; {len(clips)} are needed.")
        if any(not math.isfinite(score) for _, score in found):
            raise EarwitnessError(f"{name} gave a score that is not finite.")
        return found


def expanded(words: Iterable[str | os.PathLike]) -> tuple[list[Path], list[AudioError]]:
    """The recordings that files, folders (at any depth) and patterns such as ``sounds/*.wav`` stand for, in order.

    Folders and patterns without a recording come beside, with that as the reason, and folders that cannot be read. A
    file need not exist. ``**`` stands for folders at any depth, but for none behind a link, as a shell has it. Raises
    EarwitnessError for an empty word.

    >>> expanded(["a.wav"])
    ([PosixPath('a.wav')], [])
    """
    names = [os.fspath(word) for word in words]
    if "" in names:  # it would stand for the working folder
        what = f"The name of recording or folder {names.index('') + 1} is empty; is a variable not set?"
        raise EarwitnessError(f"{what} The working folder is `.`.")
    found, failed = list[Path](), dict[str, AudioError]()
    for word in map(Path, names):
        matches, own, refused = [word], list[Path](), list[AudioError]()
        if not os.path.lexists(word) and glob.has_magic(str(word)):
            there = sorted(set(_matches(word, refused)))
            matches = [path for path in there if _is_folder(path) or path.suffix.lower() in EXTENSIONS]
        for path in matches:
            own += [path / name for name in sorted(recordings_below(path, refused))] if _is_folder(path) else [path]
        if not own and not refused:
            refused.append(AudioError(word, "holds no recording" if _is_folder(word) else "no recording matches"))
        found += own
        failed |= {str(error): error for error in refused}
    return found, list(failed.values())


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 (pathlib's raises an error inside a folder that cannot be read)


def _matches(pattern: Path, refused: list[AudioError]) -> Iterator[Path]:
    """What a pattern matches, as of ``glob``, but never behind links for ``**``.

    Folders that cannot be read are added to ``refused``, where ``**`` leads into them.
    """
    parts = pattern.parts
    if RECURSIVE not in parts:
        yield from map(Path, glob.iglob(str(pattern)))  # noqa: PTH207 (pathlib: no pattern is absolute)
        return
    place = parts.index(RECURSIVE)
    rest = tuple(dropwhile(RECURSIVE.__eq__, parts[place:]))

    def refuse(error: OSError) -> None:
        refused.append(AudioError(Path(error.filename), f"cannot be read ({error.strerror})"))

    for top in filter(_is_folder, _matches(Path(*parts[:place]), refused)):
        if not rest:  # all that is below
            yield top
            continue
        for folder, below, _ in os.walk(top, onerror=refuse):
            below[:] = [name for name in below if not is_passed_over(name)]
            yield from _matches(Path(glob.escape(folder), *rest), refused)
