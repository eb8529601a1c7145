"""Word vectors trained on the training captions (Mikolov et al., arXiv 1301.3781), in the word2vec binary format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from earwitness.errors import EarwitnessError, MismatchError, listed
from earwitness.files import atomic
from earwitness.options import Word2VecOptions
from earwitness.text.vocabulary import EOS, PAD, SOS, UNK, Vocabulary, frequencies


def train(sentences: Sequence[Sequence[str]], vocabulary: Vocabulary, out: Path) -> None:
    """Train CBOW vectors over ``<sos> words <eos>`` and write them in the word2vec binary format.

    With one worker and a fixed seed, the same captions and options give the same bytes.
    """
    wrapped = [[SOS, *sentence, EOS] for sentence in sentences]
    vectors = trained(wrapped, frequencies(sentences, vocabulary), vocabulary.options.word2vec)
    with atomic(out) as temporary:
        vectors.save_word2vec_format(str(temporary), binary=True)


def trained(sentences: Sequence[Sequence[str]], counts: dict[str, int], options: Word2VecOptions) -> Any:
    """gensim's KeyedVectors of CBOW, for the words of ``counts`` in their order; EarwitnessError where it diverged."""
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    model = Word2Vec(
        vector_size=options.size,
        window=options.window,
        negative=options.negatives,
        sample=options.sample,
        alpha=options.learning_rate,
        min_alpha=1e-4,
        seed=options.seed,
        min_count=1,
        sg=0,
        cbow_mean=1,
        workers=1,
        sorted_vocab=0,
    )
    model.build_vocab_from_freq(counts, corpus_count=len(sentences))

    class Progress(CallbackAny2Vec):
        def on_epoch_end(self, _: Any) -> None:
            bar.update()

    with tqdm(total=options.passes, desc="word2vec", unit="pass", mininterval=1) as bar:
        model.train(sentences, total_examples=len(sentences), epochs=options.passes, callbacks=[Progress()])
    if bad := _not_finite(model.wv):
        rate = f"Lower `word2vec.learning_rate`, which is {options.learning_rate}."
        raise EarwitnessError(listed("The training of word vectors diverged; NaN or infinite are those of:", bad, rate))
    return model.wv


def _not_finite(vectors: Any) -> list[str]:
    """The tokens whose vectors hold NaN or infinity."""
    good = np.isfinite(vectors.vectors).all(axis=1)
    return [token for token, fine in zip(vectors.index_to_key, good, strict=True) if not fine]


def read(path: Path, vocabulary: Vocabulary) -> np.ndarray:
    """Vectors in the vocabulary's order, float32 [tokens, size]; ``<pad>`` is zero, ``<unk>`` the mean of all vectors.

    Raises MismatchError if a token has no vector, or one that is not finite.
    """
    from gensim.models import KeyedVectors

    vectors = KeyedVectors.load_word2vec_format(str(path), binary=True)
    if missing := [token for token in vocabulary.tokens if token not in vectors and token not in (PAD, UNK)]:
        raise MismatchError(f"{path} lacks vectors of {', '.join(missing[:10])}: it belongs to another vocabulary.")
    if bad := _not_finite(vectors):
        raise MismatchError(listed(f"{path} has vectors that are NaN or infinite:", bad, "Remove it and run again."))
    table = np.zeros((len(vocabulary), vectors.vector_size), dtype=np.float32)
    for number, token in enumerate(vocabulary.tokens):
        if token in vectors:
            table[number] = vectors[token]
        elif token == UNK:
            table[number] = vectors.vectors.mean(axis=0)
    return table
