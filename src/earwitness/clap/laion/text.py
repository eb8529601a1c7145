"""The text tower of LAION-CLAP: RoBERTa's pooled output and a projection, filled from the file alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from earwitness.clap.laion import weights as laion
from earwitness.clap.laion.audio import DIMENSION
from earwitness.clap.towers import ClapText, projection

VOCABULARY = 50265


class TextTower(nn.Module):
    """Tokens of RoBERTa [texts, n] -> vectors of length 1 [texts, 512]; the mask is 1 for tokens, 0 for padding.

    ``sizes`` are settings of RobertaConfig that differ from RoBERTa-base.
    """

    def __init__(self, **sizes: Any) -> None:
        from transformers import RobertaConfig, RobertaModel

        super().__init__()
        base = {"vocab_size": VOCABULARY, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
        settings = RobertaConfig(**(base | sizes))
        self.text_branch = RobertaModel(settings)
        self.text_projection = projection(settings.hidden_size, DIMENSION)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        pooled = self.text_branch(input_ids=ids, attention_mask=mask).pooler_output
        return functional.normalize(self.text_projection(pooled), dim=-1)


class ClapLaionText(ClapText):
    """Text tower of LAION-CLAP. Texts are padded to the longest of a batch, which changes nothing but speed."""

    longest, vocabulary, hello, tokenizer_name = 77, VOCABULARY, (0, 31414, 232, 2), "roberta-base"

    def build(self) -> nn.Module:
        return TextTower()

    def entries(self, path: Path) -> dict[str, Tensor]:
        found = laion.read(path)
        return {name: value for name, value in found.items() if name.startswith(("text_branch.", "text_projection."))}

    def load_tokenizer(self) -> Any:
        from transformers import RobertaTokenizer

        return RobertaTokenizer.from_pretrained(str(self.folder), local_files_only=True)
