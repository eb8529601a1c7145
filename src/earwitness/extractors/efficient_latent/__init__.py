"""EfficientLatent: its options and its published file; the network is in ``network.py``."""

from __future__ import annotations

from typing import Literal

from earwitness.extractors.options import NetworkOptions
from earwitness.extractors.published import PublishedWeights


class EfficientLatentOptions(NetworkOptions):
    """EfficientLatent (RicherMans/HEAR2021_EfficientLatent)."""

    PUBLISHED = {
        "weights": PublishedWeights(
            file="effb2.pt",
            addresses=(
                "https://github.com/RicherMans/HEAR2021_EfficientLatent/releases/download/v0.0.1/effb2.pt",
                "https://zenodo.org/records/6332525/files/hear2021-efficient_latent.pt?download=1",
            ),
            title="EfficientLatent of HEAR 2021, about 31 MB",
            marks={"_blocks.22._project_conv.weight": (352, 2112, 1, 1), "_conv_head.weight": (1408, 352, 1, 1)},
        )
    }

    extractor: Literal["efficient_latent"]
    floor: Literal["clip", "batch"] = "clip"  # what the 120 dB floor is measured from; `batch` depends on batch mates
    padding: Literal["static", "same"] = "static"  # of convolutions: as for images of 260 x 260, or for what comes

    @property
    def shard_clips(self) -> int:
        """Where the floor is the batch's, what divides the work into batches counts, so it is not to be set."""
        return 16 if self.floor == "batch" else self.clips_per_shard
