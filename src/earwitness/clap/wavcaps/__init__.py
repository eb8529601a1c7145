"""The CLAP of WavCaps with CNN14 and BERT, which WSAC used: the options of both towers (Mei et al., arXiv 2303.17395).

No address of the file is known to be public without a browser: it is put into resources/checkpoints by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from earwitness.clap.options import TRAINED_ON, ClapTextOptions, existing_tokenizer
from earwitness.errors import EarwitnessError
from earwitness.extractors.options import NetworkOptions
from earwitness.extractors.published import PublishedWeights
from earwitness.metrics import sentences

PUBLISHED = {
    "weights": PublishedWeights(
        file="cnn14-bert.pt",
        addresses=(),
        title="CLAP of WavCaps with CNN14 and BERT, in the drive that the READMEs of WavCaps and WSAC name",
        key="model",
        marks={
            "audio_encoder.audio_enc.conv_block6.conv2.weight": (2048, 2048, 3, 3),
            "text_proj.0.weight": (1024, 768),
        },
        note=TRAINED_ON,
    )
}


class ClapWavcapsOptions(NetworkOptions):
    """Audio tower of WavCaps' CLAP: one vector of length 1 for each clip, which is read whole."""

    PUBLISHED = PUBLISHED

    extractor: Literal["clap_wavcaps"]


class ClapWavcapsTextOptions(ClapTextOptions):
    """Text tower of WavCaps' CLAP; reads 30 word pieces of BERT."""

    PUBLISHED = PUBLISHED
    MODEL = "earwitness.clap.wavcaps.text:ClapWavcapsText"

    kind: Literal["clap_wavcaps"]
    # raw: texts as they are, as WSAC passes them; wavcaps: in lower case without marks, as in the CLAP's training
    preprocess: Literal["raw", "wavcaps"] = "raw"

    @property
    def form(self) -> str:
        return self.preprocess

    def tokenizer_folder(self) -> Path:
        if self.tokenizer == "auto":
            try:
                folder = sentences.find()  # all-MiniLM-L6-v2 began as BERT, and has its word pieces
            except EarwitnessError as error:
                advice = "Give a folder with its vocab.txt as `tokenizer`."
                raise EarwitnessError(f"There is no tokenizer of bert-base-uncased: {error} {advice}") from error
        else:
            folder = Path(self.tokenizer)
        return existing_tokenizer(folder, "bert-base-uncased", ("vocab.txt",), ("tokenizer.json",))
