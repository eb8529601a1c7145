"""The entries of WavCaps' checkpoint files."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from earwitness.clap.wavcaps import PUBLISHED
from earwitness.errors import EarwitnessError
from earwitness.extractors import checkpoints

LAST_BLOCK = "audio_encoder.audio_enc.conv_block6.conv2.weight"
WORDS = "text_encoder.text_encoder.embeddings.word_embeddings.weight"
NOT_USED = "text_encoder.text_encoder.embeddings.position_ids"  # in files that an early transformers wrote


def read(path: Path, *tower: str) -> dict[str, Tensor]:
    """The entries of a tower, whose names begin with one of ``tower``; EarwitnessError for another architecture."""
    known = PUBLISHED["weights"]
    entries = checkpoints.read(path, known.key)
    entries = {name.removeprefix("module."): value for name, value in entries.items()}
    if lacking := [name for name in (LAST_BLOCK, WORDS) if name not in entries]:
        there = ", ".join(sorted({".".join(name.split(".")[:3]) for name in entries})[:8])
        raise EarwitnessError(
            f"{path} is no checkpoint of WavCaps' CLAP with CNN14 and BERT: it lacks {', '.join(lacking)}; its entries "
            f"begin with {there}. `{known.file}` is one ({known.title})."
        )
    entries.pop(NOT_USED, None)
    return {name: value for name, value in entries.items() if name.startswith(tower)}
