"""Sentence encoders as text models: folders of sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from earwitness.errors import EarwitnessError
from earwitness.metrics import models, sentences
from earwitness.text.frozen import FrozenModel
from earwitness.text.options import SentenceOptions

TINY = 1e-12  # keeps an embedding of length 0 from dividing by it


class SentenceModel(FrozenModel):
    """A folder of sentence-transformers, and which of its outputs are the vectors of a text.

    ``tokens``: the last layer's, special tokens included; ``pooled``: the embedding, of length 1, in one row.
    Raises EarwitnessError where there is no such folder.
    """

    def __init__(self, options: SentenceOptions):
        self.folder, self.output = sentences.find(options.model), options.output
        self.label, self.state, self.where = (
            sentences.label(self.folder),
            sentences.state(self.folder),
            str(self.folder),
        )

    @property
    def max_tokens(self) -> int:
        return int(sentences.loaded(self.folder).max_seq_length or 0)

    def encoded(self, texts: Sequence[str]) -> Iterator[tuple[int, np.ndarray, int]]:
        network, longest = sentences.loaded(self.folder), self.max_tokens
        for batch in models.batches(texts, "Encoding captions", "caption"):
            some = [texts[number] for number in batch]
            found = network.encode(some, batch_size=len(some), output_value=None, show_progress_bar=False)
            for number, one in zip(batch, found, strict=True):
                mask, tokens = one.get("attention_mask"), one.get("token_embeddings")
                if self.output == "pooled":
                    vectors = one["sentence_embedding"].float().cpu().numpy()[None]
                    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), TINY)
                elif tokens is None or mask is None:
                    advice = "`output: pooled` takes its embeddings of sentences."
                    raise EarwitnessError(f"The sentence encoder in {self.folder} gives no vectors of tokens. {advice}")
                else:
                    vectors = tokens[mask.bool()].float().cpu().numpy()
                count = 0 if mask is None else int(mask.sum())
                if count and count == longest:  # there may be more
                    count = len(network.tokenizer(texts[number], verbose=False)["input_ids"])
                yield number, vectors, count
