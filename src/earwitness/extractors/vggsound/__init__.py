"""VGGSound's ResNet-18: its options and its published file; the network is in ``network.py``."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat

from earwitness.extractors.options import NetworkOptions
from earwitness.extractors.published import PublishedWeights

_PLACE = "www.robots.ox.ac.uk/~vgg/data/vggsound/models/H.pth.tar"


class VggsoundOptions(NetworkOptions):
    """VGGSound's ResNet-18 with average pooling (Chen et al., arXiv 2004.14368)."""

    PUBLISHED = {
        "weights": PublishedWeights(
            file="H.pth.tar",
            addresses=(f"https://{_PLACE}", f"http://{_PLACE}"),  # published without TLS; https is tried all the same
            title="ResNet-18 of VGGSound, model H, 45 MB or more",
            key="model_state_dict",
            marks={"audnet.layer4.1.conv2.weight": (512, 512, 3, 3), "audnet.fc.weight": (309, 512)},
        )
    }

    extractor: Literal["vggsound"]
    seconds: PositiveFloat | None = None  # 10 as published: shorter clips are repeated, longer ones cut; null: whole
