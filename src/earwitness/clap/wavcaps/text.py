"""The text tower of WavCaps' CLAP: BERT's output for [CLS] and a projection."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from earwitness.clap.towers import ClapText, projection
from earwitness.clap.wavcaps import ClapWavcapsTextOptions
from earwitness.clap.wavcaps import weights as wavcaps
from earwitness.clap.wavcaps.audio import DIMENSION

VOCABULARY = 30522
MARKS = re.compile(r'[(,.!?;:|*")]')


class TextTower(nn.Module):
    """Word pieces [texts, n] -> vectors of length 1 [texts, 1024]; the mask is 1 for tokens, 0 for padding.

    ``sizes`` are settings of BertConfig that differ from BERT-base.
    """

    def __init__(self, **sizes: Any) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        settings = BertConfig(**({"vocab_size": VOCABULARY} | sizes))
        self.text_encoder = nn.ModuleDict({"text_encoder": BertModel(settings, add_pooling_layer=False)})
        self.text_proj = projection(settings.hidden_size, DIMENSION)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.text_encoder["text_encoder"](input_ids=ids, attention_mask=mask).last_hidden_state
        return functional.normalize(self.text_proj(hidden[:, 0]), dim=-1)


class ClapWavcapsText(ClapText):
    """Text tower of WavCaps' CLAP."""

    options: ClapWavcapsTextOptions

    longest, vocabulary, hello, tokenizer_name = 30, VOCABULARY, (101, 7592, 2088, 102), "bert-base-uncased"

    def build(self) -> nn.Module:
        return TextTower()

    def entries(self, path: Path) -> dict[str, Tensor]:
        return wavcaps.read(path, "text_encoder.", "text_proj.")

    def prepared(self, text: str) -> str:
        return text if self.options.preprocess == "raw" else without_marks(text)

    def load_tokenizer(self) -> Any:
        from transformers import BertTokenizer

        return BertTokenizer.from_pretrained(str(self.folder), local_files_only=True)


def without_marks(text: str) -> str:
    """A caption as WavCaps trained its text tower with it.

    >>> without_marks('A dog barks (twice), then "rain".')
    'a dog barks twice then rain'
    """
    return " ".join(MARKS.sub(" ", text.lower()).split())
