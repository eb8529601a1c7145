"""The modality gap of a CLAP: the mean vector of clips minus that of captions, unpaired.

``gap.h5`` holds ``gap``, float32 [D], with ``counts`` and provenance as attributes; ``gap.json``
holds both and the lengths of the two means and of the gap, for people.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from earwitness.clap import require_same
from earwitness.corpora.tables import captions_by_clip
from earwitness.errors import EarwitnessError
from earwitness.features.store import FeatureStore
from earwitness.files import atomic_hdf5, provenance, require_match, write_json
from earwitness.text.encoders import TextEncoder, open_encoder

AT_ONCE = 512  # clips or captions


def make(features: Path, vectors: Path, captions: Path, out: Mapping[str, Path]) -> None:
    """Write the gap between the clips of a feature file and their captions, the means taken in float64.

    Each vector is taken as of length 1; the means are not of length 1 again.

    Args:
        features: the CLAP's vectors of the clips; vectors: its ``vectors.h5``; captions: the corpus' ``captions.csv``.
        out: paths of ``gap`` (HDF5) and ``report`` (JSON).

    Raises:
        MismatchError: clips and texts are of two CLAPs, or a clip has several vectors.
        EarwitnessError: there is no clip or no caption.
    """
    with FeatureStore(features) as store:
        encoder = open_encoder(vectors)
        require_same(store, encoder)
        texts = [text for texts in captions_by_clip(captions, store.clip_ids).values() for text in texts]
        if not texts:
            raise EarwitnessError(f"{captions} has no captions of the clips in {features}: the gap has no other side.")
        clips = _mean(lambda ids: store.batch(ids)[0][:, 0], store.clip_ids)
        words = _mean(lambda some: encoder.encode(some)[0][:, 0], texts)
        gap = (clips - words).astype(np.float32)
        made = provenance("gap", {"clips": features, "texts": vectors, "captions": captions})
        made["inputs"] |= _identity(encoder)
        counts = {"clips": len(store), "captions": len(texts)}
    lengths = {"clips": clips, "captions": words, "gap": gap}
    with atomic_hdf5(out["gap"]) as file:
        file["gap"] = gap
        file.attrs["provenance"] = json.dumps(made, sort_keys=True)
        file.attrs["counts"] = json.dumps(counts, sort_keys=True)
    found = {name: float(np.linalg.norm(vector)) for name, vector in lengths.items()}
    write_json(out["report"], {"dimension": len(gap), "counts": counts, "lengths": found, "provenance": made})


def read(path: Path, encoder: TextEncoder | None = None) -> np.ndarray:
    """The gap, float32 [D], to be added to vectors of texts.

    Args:
        encoder: of the texts, which must be that of the gap; None: any.

    Raises:
        MismatchError: the gap is of another CLAP, or of texts that were otherwise prepared.
        EarwitnessError: the file is none of a gap.
    """
    try:
        with h5py.File(path, "r") as file:
            found, gap = json.loads(file.attrs["provenance"]), file["gap"][:]
    except FileNotFoundError as error:
        raise EarwitnessError(f"{path} is not there.") from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EarwitnessError(f"{path} is no file of a modality gap ({error}). Remove it and run again.") from error
    expected = {"made_by": "gap"} if encoder is None else {"made_by": "gap", "inputs": _identity(encoder)}
    require_match(path, found, expected)
    return gap


def _identity(encoder: TextEncoder) -> dict[str, str]:
    """Backend and state of a CLAP's encoder of texts, which has weights and tokenizer, and the form of its vectors."""
    found, form = encoder.description(), getattr(getattr(encoder, "options", None), "form", "vectors")
    return {"backend": str(found["kind"]), "state": str(found.get("state")), "form": form}


def _mean(vectors_of: Callable[[Sequence[str]], np.ndarray], items: Sequence[str]) -> np.ndarray:
    """The mean of vectors of length 1, float64 [D], with a few hundred in memory at a time."""
    total: Any = 0.0
    for start in range(0, len(items), AT_ONCE):
        total = total + vectors_of(items[start : start + AT_ONCE]).astype(np.float64).sum(axis=0)
    return total / len(items)
