"""Local folders of text models: their digests, their names in the names of metrics, loading, and batches of texts.

Two models never share a name. A folder's ``state`` is a digest of everything in it that its output depends on. A model
has its public name where its weights have the published SHA-256 and the settings beside them are the published ones;
any other is named after its folder and the first six digits of the state. Nothing here uses the network.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from earwitness.errors import EarwitnessError
from earwitness.files import digest, read_json, sha256

BATCH = 64  # texts at a time
LONG = 512  # texts that are worth a progress bar
SETTINGS = {".json", ".txt", ".model"}  # suffixes of the files that decide beside the weights
NOT_DECIDING = {"data_config.json"}  # lists what a sentence model was trained on
BERT_DEFAULTS = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12}  # where config.json is silent
UNCASED = BERT_DEFAULTS | {  # of models that began as BERT with the words of bert-base-uncased
    "vocabulary": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    "lowercase": True,
}
# A tokenizer has one of these sets of files, a sentencepiece .model, or is of a class whose tokens need none.
TOKENIZER_FILES = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))
WITHOUT_FILES = ("ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer")
PADDED = 0.97  # of a model's vocabulary that its tokenizer has at least; many are padded to round numbers
HUB_SNAPSHOT = re.compile(r"models--(?:[^/]+?--)?([^/]+)/snapshots/[^/]+$")


@dataclass(frozen=True)
class Known:
    """A public model: its name in metrics, and the settings it was published with, as far as a metric looks at them."""

    name: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Folder:
    """A model's folder: its weight files and the folders, including itself, whose settings count."""

    path: Path
    weights: tuple[Path, ...]
    parts: tuple[Path, ...]

    def state(self) -> str:
        """Hex digest of the weights and of all settings beside them; read again only where a file changed."""
        settings = (file for part in self.parts for file in part.iterdir() if file.suffix in SETTINGS)
        files = {*self.weights, *(file for file in settings if file.name not in NOT_DECIDING)}
        return digest({file.relative_to(self.path).as_posix(): _digest(file) for file in files})

    def label(self, known: Mapping[str, Known], facts: Callable[[], Mapping[str, Any]]) -> str:
        """The model's name, of letters, digits, ``_`` and ``-``.

        ``known`` has public models by the SHA-256 of their weights; ``facts`` gives this folder's settings.
        """
        public = known.get(_digest(self.weights[0])) if len(self.weights) == 1 else None
        if public and public.facts == facts():
            return public.name
        # The hub's cache names snapshots by hashes, and a folder above them after the model. ``_name_or_path`` of
        # ``config.json`` names the model that training began with.
        path = self.path.absolute()
        cached = HUB_SNAPSHOT.search(path.as_posix())
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", cached[1] if cached else path.name).strip("-") or "model"
        return f"{name}-{self.state()[:6]}"


def state_of(described: Callable[[], Folder]) -> str:
    """The state of the folder that ``described`` gives, "none" where it finds none."""
    try:
        return described().state()
    except (EarwitnessError, OSError):
        return "none"


def _digest(file: Path) -> str:
    found = file.stat()
    return _digest_of(file, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=512)
def _digest_of(file: Path, size: int, modified: int) -> str:
    return sha256(file)


def settings(file: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    content = read_json(file) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def configuration_facts(folder: Path) -> dict[str, Any]:
    """What a public model's encoder and tokeniser were published with and its weights do not say.

    The words' SHA-256 is that of ``vocab.txt``, one word a line, also where they are in ``tokenizer.json``.
    """
    names = (*BERT_DEFAULTS, "num_attention_heads")
    config = BERT_DEFAULTS | settings(folder / "config.json")
    facts = {name: config.get(name) for name in names}
    if tokenizer := settings(folder / "tokenizer.json"):
        words: Any = (tokenizer.get("model") or {}).get("vocab")
        words = sorted(words, key=lambda word: words[word]) if isinstance(words, dict) else []
        return facts | {
            "vocabulary": _lines_digest(words),
            "lowercase": (tokenizer.get("normalizer") or {}).get("lowercase"),
        }
    file = folder / "vocab.txt"
    return facts | {
        "vocabulary": _lines_digest(file.read_text(encoding="utf-8").split("\n")[:-1]) if file.is_file() else None,
        "lowercase": settings(folder / "tokenizer_config.json").get("do_lower_case", True),
    }


def _lines_digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def existing(folder: Path, what: str) -> Path:
    """The folder of ``what`` with ``~`` expanded; EarwitnessError where it is no model's folder."""
    folder = folder.expanduser()
    if not folder.is_dir():
        raise EarwitnessError(f"The {what} {str(folder)!r} is no folder.")
    if not (folder / "config.json").is_file():
        raise EarwitnessError(f"The {what} {str(folder)!r} is no model's folder: config.json is not in it.")
    return folder


def require_tokenizer(folder: Path, parts: Sequence[Path] = ()) -> None:
    """Raise EarwitnessError for a text model without its tokenizer's files, in its folder or one of its ``parts``.

    transformers makes a tokenizer of special tokens alone then, without an error, and every text becomes the same ids.
    """
    names = {file.name for part in (folder, *parts) for file in part.iterdir() if file.is_file()}
    if any(names.issuperset(files) for files in TOKENIZER_FILES) or any(name.endswith(".model") for name in names):
        return
    if settings(folder / "tokenizer_config.json").get("tokenizer_class") in WITHOUT_FILES:
        return
    wanted = ", or ".join(" and ".join(files) for files in TOKENIZER_FILES)
    raise EarwitnessError(
        f"{folder} has no tokenizer: {wanted}, or a sentencepiece file (.model) is missing. Every text would become "
        "the same tokens. Put the files of the model's own tokenizer there."
    )


def require_vocabulary(folder: Path, tokenizer: Any, network: Any) -> None:
    """Raise EarwitnessError where a loaded tokenizer is not that of a text model of transformers, by their sizes.

    The tokenizer must not have more tokens than the ``network`` has word embeddings, nor notably fewer.
    """
    rows, tokens = network.get_input_embeddings().weight.shape[0], len(tokenizer)
    # Some models have one more special token than embeddings, which no text gives (EmbeddingGemma's for images).
    if not PADDED * rows <= tokens or min(tokens, getattr(tokenizer, "vocab_size", tokens)) > rows:
        raise EarwitnessError(
            f"The tokenizer in {folder} is not the model's: it has {tokens} tokens, and the model's vocabulary has "
            f"{rows}. Put the files of the model's own tokenizer there (is one of them cut off, or missing?)."
        )


def device_of(name: str) -> str:
    """``auto`` is the GPU where there is one, else the CPU; any other name is torch's."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def batches(texts: Sequence[str], title: str, unit: str) -> Iterator[list[int]]:
    """Numbers of the texts in batches of similar length, the longest first, the same for the same texts.

    Long work shows its progress on the error stream.
    """
    from tqdm import tqdm

    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
    with tqdm(total=len(texts), desc=title, unit=unit, file=sys.stderr, disable=len(texts) < LONG) as bar:
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            yield batch
            bar.update(len(batch))


@contextmanager
def loading(what: str, folder: Path) -> Iterator[None]:
    """Load a model without transformers' progress bars, torch's random state untouched, failures as plain messages."""
    import torch
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    except EarwitnessError:
        raise
    except Exception as error:  # a damaged folder makes the libraries raise errors of a dozen types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EarwitnessError(f"{folder} cannot be loaded as {what}: {reason}") from error
    finally:
        if shown:
            logging.enable_progress_bar()
