"""The entries of LAION's checkpoint files, old and new, and of slim files made from them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from earwitness.clap.laion import PUBLISHED
from earwitness.errors import EarwitnessError
from earwitness.extractors import checkpoints
from earwitness.files import atomic

PATCHES = "audio_branch.patch_embed.proj.weight"
FUSION = "audio_branch.patch_embed.mel_conv2d.weight"
SIZES = {96: "HTSAT-tiny", 128: "HTSAT-base"}  # by the dimension of a patch
NOT_USED = "text_branch.embeddings.position_ids"  # in files that an early transformers wrote


def read(path: Path) -> dict[str, Tensor]:
    """The entries of both towers, by their names in the package's model.

    Raises EarwitnessError for a file that is no checkpoint of LAION-CLAP, or one with feature fusion.
    """
    known = PUBLISHED["weights"]
    found = checkpoints.read(path, known.key)
    entries = {name.removeprefix("module."): value for name, value in found.items()}
    if PATCHES not in entries or "text_branch.embeddings.word_embeddings.weight" not in entries:
        there = ", ".join(sorted({name.split(".")[0] for name in entries}))
        raise EarwitnessError(
            f"{path} is no checkpoint of LAION-CLAP with HTSAT and RoBERTa: its entries begin with {there}; "
            f"audio_branch (of HTSAT) and text_branch (of RoBERTa) are needed. `{known.file}` is one ({known.title})."
        )
    if FUSION in entries:
        raise EarwitnessError(
            f"{path} is a checkpoint with feature fusion ({FUSION}), which is not supported; long clips are read in "
            f"windows of 10 s instead. Take the one without fusion, such as `{known.file}`."
        )
    entries.pop(NOT_USED, None)
    return entries


def audio_model(path: Path, entries: dict[str, Tensor], stated: str = "auto") -> str:
    """HTSAT-tiny or HTSAT-base, by the shapes; EarwitnessError where another one is ``stated``, or it is neither."""
    width = entries[PATCHES].shape[0]
    found = SIZES.get(width, f"an unknown HTSAT of width {width}")
    if found not in SIZES.values() or stated not in ("auto", found):
        wanted = f"`amodel: {stated}`" if stated != "auto" else " or ".join(SIZES.values())
        raise EarwitnessError(f"{path} has {found}, and {wanted} is asked for. `amodel: auto` takes what the file has.")
    return found


def slim(path: Path, out: Path) -> None:
    """Write the weights of a checkpoint alone, a third of its size, as safetensors; both towers read it as well."""
    from safetensors.torch import save_file

    with atomic(out) as part:
        save_file({name: value.contiguous() for name, value in read(path).items()}, part)
