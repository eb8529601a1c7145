"""PANNs' Cnn14: its options and its published file; the network is in ``network.py``."""

from __future__ import annotations

from typing import Literal

from earwitness.extractors.options import NetworkOptions
from earwitness.extractors.published import PublishedWeights


class PannsCnn14Options(NetworkOptions):
    """PANNs' Cnn14 (Kong et al., arXiv 1912.10211)."""

    PUBLISHED = {
        "weights": PublishedWeights(
            file="Cnn14_mAP=0.431.pth",
            addresses=("https://zenodo.org/records/3987831/files/Cnn14_mAP%3D0.431.pth?download=1",),
            title="PANNs Cnn14",
            bytes=327_428_481,
            md5="541141fa2ee191a88f24a3219fff024e",
            sha256="0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
            key="model",
            # The front end tells it from Cnn14_16k.
            marks={"logmel_extractor.melW": (513, 64), "conv_block6.conv2.weight": (2048, 2048, 3, 3)},
        )
    }

    extractor: Literal["panns_cnn14"]
