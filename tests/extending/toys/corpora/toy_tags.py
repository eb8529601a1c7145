"""Tags of clips: the last word of the first phrase of a clip, such as "dog" of "a barking dog"."""

from __future__ import annotations

from pathlib import Path

from earwitness.corpora.tables import CAPTIONS, PHRASES, read_table


def tags_by_clip(corpus: Path) -> dict[str, str]:
    """The tag of each clip that has a phrase, from the folder of the corpus' tables."""
    captions = read_table(corpus / "captions.csv", CAPTIONS)
    clips = dict(zip(captions["caption_id"], captions["clip_id"], strict=True))
    phrases = read_table(corpus / "phrases.csv", PHRASES)
    tags: dict[str, str] = {}
    for caption, text in zip(phrases["caption_id"], phrases["text"], strict=True):
        tags.setdefault(clips[caption], text.split()[-1].lower())
    return tags
