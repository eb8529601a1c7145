"""The text stage of sentence encoders: each distinct caption is encoded once."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.files import atomic_hdf5, provenance
from earwitness.metrics import models, sentences
from earwitness.text.encoders import text_digest, write_attributes
from earwitness.text.options import SentenceOptions
from earwitness.text.stage import phrase_texts, texts_by_split

TINY = 1e-12  # keeps an embedding of length 0 from dividing by it


def prepare(options: SentenceOptions, corpus: Path, out: Mapping[str, Path]) -> None:
    """Encode the captions of all splits, and their phrases, and count those of which the model leaves out the end.

    Args:
        corpus: the folder with the corpus' tables; out: path of ``vectors``.
    """
    by_split = texts_by_split(corpus)
    texts = list(dict.fromkeys([*(text for own in by_split.values() for text in own), *phrase_texts(corpus)]))
    folder = sentences.find(options.model)
    state, longest = sentences.state(folder), int(sentences.loaded(folder).max_seq_length or 0)
    made_by = provenance("text", {"captions": corpus / "captions.csv"}, **options.settings("text"))
    made_by["inputs"]["model"] = state
    numbers, offsets, dimension = list[int](), [0], 0
    cut = set[str]()
    # The number of all tokens is known in the end only, and HDF5 keeps in one piece what has a known size.
    with atomic_hdf5(out["vectors"]) as file, tempfile.TemporaryFile(dir=out["vectors"].parent) as spool:
        for number, vectors, tokens in encoded(texts, folder, options.output):
            dimension = vectors.shape[1]
            numbers.append(number)
            offsets.append(offsets[-1] + len(vectors))
            if longest and tokens >= longest:
                cut.add(texts[number])
            spool.write(vectors.astype(options.storage).tobytes())
        spool.flush()
        shape = offsets[-1], dimension
        file["vectors"] = np.memmap(spool, options.storage, "r", shape=shape)
        file["offsets"] = np.array(offsets, dtype=np.int64)
        file["digests"] = np.array([text_digest(texts[number]) for number in numbers], dtype="S32")
        counts: dict[str, Any] = {"distinct": len(texts)}
        for split, own in by_split.items():
            counts[split] = {"captions": len(own), "cut": sum(text in cut for text in own)}
        contents = {"options": options.model_dump(mode="json"), "counts": counts, "provenance": made_by}
        sizes = {"dimension": dimension, "max_tokens": longest}
        write_attributes(file, options.kind, contents, label=sentences.label(folder), state=state, **sizes)
    if cut:
        print(f"Captions of {longest} tokens or more, of which the end is left out: {len(cut)}", file=sys.stderr)


def encoded(texts: Sequence[str], folder: Path, output: str) -> Iterator[tuple[int, np.ndarray, int]]:
    """Number of each text, its vectors, float32 [n, D], and its tokens; longest first, the same for the same texts.

    ``tokens``: the last layer's, special tokens included; ``pooled``: the embedding, of length 1, in one row.
    Raises EarwitnessError for a model without token vectors, or whose vectors are not finite.
    """
    network = sentences.loaded(folder)
    for batch in models.batches(texts, "Encoding captions", "caption"):
        some = [texts[number] for number in batch]
        found = network.encode(some, batch_size=len(some), output_value=None, show_progress_bar=False)
        for number, one in zip(batch, found, strict=True):
            mask, tokens = one.get("attention_mask"), one.get("token_embeddings")
            if output == "pooled":
                vectors = one["sentence_embedding"].float().cpu().numpy()[None]
                vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), TINY)
            elif tokens is None or mask is None:
                advice = "`output: pooled` takes its embeddings of sentences."
                raise EarwitnessError(f"The sentence encoder in {folder} gives no vectors of tokens. {advice}")
            else:
                vectors = tokens[mask.bool()].float().cpu().numpy()
            if not np.isfinite(vectors).all():
                raise EarwitnessError(f"The sentence encoder in {folder} gives {texts[number]!r} no finite vectors.")
            yield number, vectors, 0 if mask is None else int(mask.sum())
