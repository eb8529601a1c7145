"""VGGish: its options and its published files; the network is in ``network.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from earwitness.extractors.options import PUBLIC, NetworkOptions
from earwitness.extractors.published import PublishedWeights
from earwitness.options import FilePath

_RELEASE = "https://github.com/harritaylor/torchvggish/releases/download/v0.1"


class VggishOptions(NetworkOptions):
    """VGGish (Hershey et al., arXiv 1609.09430)."""

    PUBLISHED = {
        "weights": PublishedWeights(
            file="vggish-10086976.pth",
            addresses=(f"{_RELEASE}/vggish-10086976.pth",),
            title="VGGish, about 289 MB",
            sha256_prefix="10086976",
            marks={"features.13.weight": (512, 512, 3, 3), "embeddings.0.weight": (4096, 12288)},
        ),
        "pca": PublishedWeights(
            file="vggish_pca_params-970ea276.pth",
            addresses=(f"{_RELEASE}/vggish_pca_params-970ea276.pth",),
            title="PCA of VGGish, about 0.2 MB",
            sha256_prefix="970ea276",
            marks={"pca_eigen_vectors": (128, 128)},
        ),
    }

    extractor: Literal["vggish"]
    postprocess: bool = False  # PCA and whole numbers from 0 to 255, as AudioSet's features are; false: raw
    pca: FilePath = PUBLIC  # the file of the PCA, which `postprocess` needs

    def checkpoints(self) -> dict[str, Path]:
        return {name: path for name, path in super().checkpoints().items() if name != "pca" or self.postprocess}
