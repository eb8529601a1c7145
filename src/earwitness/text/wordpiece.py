"""Captions in the word pieces of a tokenizer; ``vocabulary.json`` holds all that is needed of the tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from earwitness.errors import EarwitnessError, listed
from earwitness.files import read_json, require_match
from earwitness.text.options import WordPieceOptions
from earwitness.text.vocabulary import Special, Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONTINUED = "##"  # begins a piece that continues a word


@dataclass(frozen=True)
class WordPieces(Vocabulary):
    """Word pieces and their ids, as the tokenizer has them, or those of the training captions in the same order.

    A word is cut into the longest pieces that the vocabulary has, from its beginning.

    Attributes:
        max_words: number of pieces of the longest training caption.
        lowercase: whether texts are put into lower case and lose their accents, as BERT's uncased vocabulary needs.
    """

    lowercase: bool = True

    @classmethod
    def of_file(cls, path: Path, captions: Sequence[str], options: WordPieceOptions) -> WordPieces:
        """The vocabulary in a tokenizer's file (``vocabulary_file``), for these training captions.

        Raises EarwitnessError for a file without word pieces, or without the special tokens.
        """
        whole = cls(_tokens(path, options), 0, options, lowercase(path.parent))
        pieces = [whole.clean(caption) for caption in captions]
        tokens = whole.tokens
        if options.pieces == "seen":
            seen = {piece for own in pieces for piece in own} | set(whole.special)
            tokens = tuple(token for token in tokens if token in seen)
        return cls(tokens, max(map(len, pieces), default=0), options, whole.lowercase)

    @classmethod
    def of_content(cls, content: Mapping[str, Any]) -> Self:
        options = WordPieceOptions.model_validate(content["options"])
        return cls(tuple(content["tokens"]), content["max_words"], options, content["lowercase"])

    def content(self) -> dict[str, Any]:
        return {**super().content(), "lowercase": self.lowercase}

    @property
    def special(self) -> Special:
        return Special(**self.options.special.model_dump())

    @property
    def never_generated(self) -> list[int]:
        """Ids of all tokens in square brackets, such as ``[MASK]`` and ``[unused1]``, but that of the end."""
        marked = {
            number for number, token in enumerate(self.tokens) if token[:1] == "[" and token[1:2] and token[-1:] == "]"
        }
        return sorted((marked | {self.ids[token] for token in self.special}) - {self.eos})

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from tokenizers import Tokenizer, decoders
        from tokenizers.models import WordPiece
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer

        tokenizer = Tokenizer(WordPiece(self.ids, unk_token=self.special.unk, max_input_chars_per_word=100))
        tokenizer.normalizer = BertNormalizer(lowercase=self.lowercase)
        tokenizer.pre_tokenizer = BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix=CONTINUED, cleanup=True)
        return tokenizer

    def clean(self, caption: str) -> list[str]:
        """The pieces of a caption."""
        return self._tokenizer.encode(caption, add_special_tokens=False).tokens

    def joined(self, words: Sequence[str]) -> str:
        """The pieces as text: joined into words, and marks to the words before them."""
        return self._tokenizer.decoder.decode(list(words))


def read_vocabulary(path: str | Path, expected: dict[str, Any] | None = None) -> Vocabulary:
    """Read a ``vocabulary.json`` of any kind. Raises MismatchError if its provenance differs from ``expected``."""
    content = read_json(path)
    require_match(path, content["provenance"], expected or {})
    return vocabulary_of(content)


def vocabulary_of(content: Mapping[str, Any]) -> Vocabulary:
    """The inverse of ``content`` of either class."""
    return (WordPieces if content["options"]["kind"] == "wordpiece" else Vocabulary).of_content(content)


def vocabulary_file(tokenizer: str) -> Path:
    """The file with the word pieces of a tokenizer's folder: vocab.txt, else tokenizer.json.

    ``auto`` is the folder of all-MiniLM-L6-v2, in a Python package. Raises EarwitnessError where there is none.
    """
    from earwitness.metrics import sentences

    folder = sentences.find("auto") if tokenizer == "auto" else Path(tokenizer).expanduser()
    for name in ("vocab.txt", "tokenizer.json"):
        if (file := folder / name).is_file():
            return file
    what = "lacks its vocabulary: there is neither vocab.txt nor tokenizer.json" if folder.is_dir() else "is not there"
    raise EarwitnessError(f"The tokenizer's folder {folder} {what}.")


def _tokens(path: Path, options: WordPieceOptions) -> tuple[str, ...]:
    """The tokens of a file in the order of their ids."""
    if path.suffix == ".txt":
        tokens: Iterable[str] = (
            path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        )  # tokens may be other line ends
    else:
        model = read_json(path).get("model", {})
        if model.get("type") != "WordPiece":
            raise EarwitnessError(f"{path} has a tokenizer of the kind {model.get('type')!r}; WordPiece is needed.")
        tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    found = tuple(tokens)
    problems = [f"{name}: {token!r}" for name, token in options.special.model_dump().items() if token not in found]
    if problems:
        raise EarwitnessError(listed(f"{path}, of {len(found)} tokens, lacks special tokens:", problems))
    letters = [letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in found]
    if letters or len(set(found)) < len(found):
        what = f"lacks the letters {', '.join(letters)}" if letters else "has tokens twice"
        raise EarwitnessError(f"{path}, of {len(found)} tokens, is no whole WordPiece vocabulary: it {what}.")
    return found


def lowercase(folder: Path) -> bool:
    """Whether a tokenizer puts texts into lower case: by tokenizer_config.json in its folder, and true without it."""
    path = folder / "tokenizer_config.json"
    return bool(read_json(path).get("do_lower_case", True)) if path.is_file() else True
