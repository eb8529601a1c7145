"""What the text towers share: a Transformer of transformers, a projection, a checked tokenizer, batches of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.clap import untrained_state
from earwitness.clap.options import ClapTextOptions
from earwitness.errors import EarwitnessError
from earwitness.extractors import checkpoints
from earwitness.extractors.published import state
from earwitness.metrics import models
from earwitness.text.frozen import FrozenModel

HELLO = "Hello world"  # whose tokens tell a tokenizer


class ClapText(FrozenModel):
    """The text tower of a CLAP checkpoint, as a text model. Raises EarwitnessError where a file is absent.

    Attributes:
        longest: tokens of a text that the tower reads, special ones included.
        vocabulary: the number of tokens.
        hello: the tokens of ``HELLO``.
        tokenizer_name: of the public tokenizer, for messages.
    """

    longest: int
    vocabulary: int
    hello: tuple[int, ...]
    tokenizer_name: str

    def __init__(self, options: ClapTextOptions):
        self.options = options
        self.folder = options.tokenizer_folder()
        if options.untrained:
            weights, name = untrained_state(options.seed), f"{options.kind}, untrained"
        else:
            path = Path(options.checkpoints()["weights"])
            weights, name = state(path)["sha256"], path.name
        self.label, self.where = name, name if options.untrained else str(path)
        self.state = f"{weights}.{options.tokenizer_state()[:16]}"

    @property
    def max_tokens(self) -> int:
        return self.longest

    @abstractmethod
    def build(self) -> nn.Module:
        """The tower without its weights: ids and mask [texts, tokens] -> vectors of length 1 [texts, D]."""

    @abstractmethod
    def entries(self, path: Path) -> dict[str, Tensor]:
        """The tower's weights in a checkpoint file, by their names in the tower."""

    @abstractmethod
    def load_tokenizer(self) -> Any:
        """The tokenizer of ``folder``, unchecked."""

    def prepared(self, text: str) -> str:
        """A text as it is passed to the tokenizer."""
        return text

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer; EarwitnessError for one that is not the tower's, which transformers may make silently."""
        with models.loading(f"the tokenizer of {self.tokenizer_name}", self.folder):
            tokenizer = self.load_tokenizer()
        size, found = len(tokenizer), tuple(tokenizer(HELLO)["input_ids"])
        if (size, found) != (self.vocabulary, self.hello):
            raise EarwitnessError(
                f"The tokenizer in {self.folder} is not that of {self.tokenizer_name}: it has {size} tokens and reads "
                f"{HELLO!r} as {list(found)}; {self.vocabulary} and {list(self.hello)} are right. Put the files of "
                f"{self.tokenizer_name} there (is one of them cut off, or missing?)."
            )
        return tokenizer

    @cached_property
    def tower(self) -> nn.Module:
        """The tower with its weights, ready for inference."""
        from transformers.initialization import no_init_weights

        with torch.random.fork_rng(devices=[]), no_init_weights():  # all of them are filled below
            tower = self.build()
        if self.options.untrained:
            checkpoints.untrained(tower, self.options.seed)
        else:
            path = Path(self.options.checkpoints()["weights"])
            checkpoints.fit(tower, self.entries(path), path, file=self.options.PUBLISHED["weights"].file)
        return tower.to(models.device_of("auto")).eval().requires_grad_(False)

    def encoded(self, texts: Sequence[str]) -> Iterator[tuple[int, np.ndarray, int]]:
        device = next(self.tower.parameters()).device
        for batch in models.batches(texts, "Embedding captions", "caption"):
            read = self.tokenizer(
                [self.prepared(texts[number]) for number in batch],
                padding=True,
                truncation=True,
                max_length=self.longest,
                return_tensors="pt",
            )
            mask = read["attention_mask"]
            with torch.inference_mode():
                vectors = self.tower(read["input_ids"].to(device), mask.to(device)).float().cpu().numpy()
            for number, vector, tokens in zip(batch, vectors, mask.sum(dim=1).tolist(), strict=True):
                if tokens == self.longest:  # it may have more than were read
                    tokens = len(self.tokenizer(self.prepared(texts[number]), verbose=False)["input_ids"])
                yield number, vector[None], tokens


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """The layers from a tower to the shared space."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))
