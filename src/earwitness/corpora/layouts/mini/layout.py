"""The miniature data set on disk: making it, and reading it back.

``annotations.json`` holds ``provenance`` and ``clips``, each with file_name, split, clip_id, seconds, ``sounds``
(sound, loudness, events as [onset, offset] in seconds) and ``phrases`` (phrase_id, caption_id, text, start_word,
end_word, and ``sound``: the place in the list of sounds, counted from 0).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

from earwitness.corpora.layouts.mini import MiniOptions
from earwitness.corpora.layouts.mini.grammar import CAPTIONS_PER_CLIP, Caption, describe
from earwitness.corpora.layouts.mini.scene import Scene, mix, plan
from earwitness.corpora.tables import ListedClip, ListedPhrase, Listing, caption_id, phrase_id, read_table, write_table
from earwitness.errors import CorpusError
from earwitness.files import SCHEMA, atomic, provenance, read_json, require_match, write_json
from earwitness.options import SPLITS

ANNOTATIONS = "annotations.json"
COLUMNS = ["file_name", *(f"caption_{number}" for number in range(1, CAPTIONS_PER_CLIP + 1))]
MADE_BY = "mini"


class Mini:
    """The layout of the miniature data set: ``{split}/*.wav``, ``clotho_captions_{split}.csv``, ``annotations.json``.

    Every clip has a separate random stream, seeded by (seed, split, number of the clip): its content does not
    depend on how many clips there are.
    """

    makes_audio = True

    def __init__(self, options: MiniOptions):
        self.options = options

    def make(self, root: Path) -> None:
        """Synthesise all clips (mono, 16 bit) and write them with captions and exact event times under ``root``.

        Raises EarwitnessError when the disk is full; each file is whole or absent.
        """
        counts = {split: getattr(self.options.clips, split) for split in SPLITS}
        clips = []
        with tqdm(total=sum(counts.values()), desc="Synthesising", unit="clip") as progress:
            for split, count in counts.items():
                made = []
                for number in range(1, count + 1):
                    made.append(self._make_clip(Path(root), split, number))
                    progress.update()
                if made:
                    rows = [[clip["file_name"], *clip.pop("captions")] for clip in made]
                    write_table(_captions_path(root, split), pd.DataFrame(rows, columns=COLUMNS))
                clips += made
        write_json(Path(root) / ANNOTATIONS, {"provenance": provenance(MADE_BY, **self._settings()), "clips": clips})

    def listing(self, root: Path) -> Listing:
        """The clips, phrases and events that ``make`` wrote under ``root``.

        Raises CorpusError when its files are not there, MismatchError when they were made with other options.
        """
        root = Path(root)
        splits = [split for split in SPLITS if getattr(self.options.clips, split)]
        needed = [root / ANNOTATIONS, *(_captions_path(root, split) for split in splits)]
        if missing := [path.name for path in needed if not path.exists()]:
            raise CorpusError(f"The miniature data set in {root} lacks {', '.join(missing)}. Make it again.")
        annotations = read_json(root / ANNOTATIONS)
        expected = {"schema": SCHEMA, "made_by": MADE_BY, "settings": self._settings()}
        require_match(root / ANNOTATIONS, annotations["provenance"], expected)
        clips = [clip for split in splits for clip in _listed(root, split)]
        return Listing(clips, _phrases(annotations["clips"]), whole_ids=True)

    def tables(self, root: Path) -> list[Path]:
        """The annotations and the caption tables that are there."""
        candidates = [Path(root) / ANNOTATIONS, *(_captions_path(root, split) for split in SPLITS)]
        return [path for path in candidates if path.is_file()]

    def _settings(self) -> dict[str, Any]:
        return self.options.model_dump(include={"clips", "seconds", "events", "sample_rate", "seed", "classes"})

    def _make_clip(self, root: Path, split: str, number: int) -> dict[str, Any]:
        """Write one clip's audio; what is known about it."""
        options = self.options
        rng = np.random.Generator(np.random.PCG64([options.seed, SPLITS.index(split), number]))
        scene = plan(rng, options)
        captions = describe(rng, scene)
        name = f"mini-{split}-{number:04d}.wav"
        # Through memory, since a full disk has no plain message from libsndfile.
        audio = io.BytesIO()
        wave = mix(rng, scene, options.sample_rate)
        soundfile.write(audio, wave, options.sample_rate, format="WAV", subtype="PCM_16")
        with atomic(root / split / name) as temporary:
            temporary.write_bytes(audio.getvalue())
        return {"file_name": name, "split": split, **_annotations(f"{split}/{name}", scene, captions)}


def _annotations(clip_id: str, scene: Scene, captions: list[Caption]) -> dict[str, Any]:
    sounds = [
        {"sound": g.sound, "loudness": g.loudness, "events": [list(times) for times in g.events]} for g in scene.groups
    ]
    phrases = []
    for number, caption in enumerate(captions, start=1):
        name = caption_id(clip_id, number)
        for place, phrase in enumerate(caption.phrases, start=1):
            span = {"text": phrase.text, "start_word": phrase.start_word, "end_word": phrase.end_word}
            phrases.append({"phrase_id": phrase_id(name, place), "caption_id": name, **span, "sound": phrase.group})
    return {
        "clip_id": clip_id,
        "seconds": scene.seconds,
        "captions": [caption.text for caption in captions],
        "sounds": sounds,
        "phrases": phrases,
    }


def _captions_path(root: Path, split: str) -> Path:
    return Path(root) / f"clotho_captions_{split}.csv"


def _listed(root: Path, split: str) -> list[ListedClip]:
    table = read_table(_captions_path(root, split), COLUMNS)
    rows = table.itertuples(index=False, name=None)
    return [ListedClip(f"{split}/{name}", split, f"{split}/{name}", tuple(captions)) for name, *captions in rows]


def _phrases(clips: list[dict[str, Any]]) -> list[ListedPhrase]:
    """The annotated phrases; each sounds when the sound it speaks of does."""
    return [
        ListedPhrase(
            phrase["caption_id"],
            phrase["text"],
            phrase["start_word"],
            phrase["end_word"],
            tuple(tuple(times) for times in clip["sounds"][phrase["sound"]]["events"]),
        )
        for clip in clips
        for phrase in clip["phrases"]
    ]
