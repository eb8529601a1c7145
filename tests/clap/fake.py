"""Files of a CLAP with given vectors."""

import h5py
import numpy as np

from earwitness.features.store import write
from earwitness.text.encoders import text_digest, write_attributes

OF = {"experiment": "e", "dataset": "d", "seed": 0}


def unit(*vectors):
    array = np.array(vectors, dtype=np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def write_clips(path, clip_ids, vectors, state="abc", audio="sound", **made):
    """A feature file with one vector for each clip, as a retriever makes it."""
    settings = {"extractor": "retriever", **OF}
    provenance = {"schema": 1, "made_by": "retriever", "settings": settings} | made
    provenance["inputs"] = {"audio": audio, "weights": state}
    clips = [(clip, vector[None]) for clip, vector in zip(clip_ids, vectors, strict=True)]
    write(path, clips, len(vectors[0]), provenance, total=len(clips))
    return path


def write_texts(path, texts, vectors, state="abc"):
    """A ``vectors.h5`` with one vector for each text, as a retriever makes it."""
    with h5py.File(path, "w") as file:
        file["vectors"] = np.asarray(vectors, dtype=np.float32)
        file["offsets"] = np.arange(len(texts) + 1)
        file["digests"] = np.array([text_digest(text) for text in texts], dtype="S32")
        contents = {"options": {"kind": "retriever", **OF}, "counts": {}, "provenance": {}}
        sizes = {"dimension": len(vectors[0]), "max_tokens": 0}
        write_attributes(file, "retriever", contents, label="d/e", state=state, **sizes)
    return path
