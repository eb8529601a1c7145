"""PANNs' Cnn10: its options and its published file; the network is in ``network.py``."""

from __future__ import annotations

from typing import Literal

from earwitness.extractors.options import NetworkOptions
from earwitness.extractors.published import PublishedWeights


class PannsCnn10Options(NetworkOptions):
    """PANNs' Cnn10 (Kong et al., arXiv 1912.10211)."""

    PUBLISHED = {
        "weights": PublishedWeights(
            file="Cnn10_mAP=0.380.pth",
            addresses=("https://zenodo.org/records/3987831/files/Cnn10_mAP%3D0.380.pth?download=1",),
            title="PANNs Cnn10",
            bytes=25_237_595,
            md5="bfb1f1f9968938fa8ef4012b8471f5f6",
            key="model",
            marks={  # neither Cnn6 nor Cnn14
                "logmel_extractor.melW": (513, 64),
                "conv_block4.conv2.weight": (512, 512, 3, 3),
                "fc1.weight": (512, 512),
            },
        )
    }

    extractor: Literal["panns_cnn10"]
