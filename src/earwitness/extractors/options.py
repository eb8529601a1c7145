"""Options that all networks share; cheap to import, unlike the networks themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from earwitness.extractors.published import PublishedWeights
from earwitness.fetch.checkpoints import FOLDER
from earwitness.options import FeatureOptions, FilePath, Seed

UNTRAINED, PUBLIC = "untrained", "public"


class NetworkOptions(FeatureOptions):
    """What every network has: where its weights are from, and how precisely it computes and is stored."""

    PUBLISHED: ClassVar[Mapping[str, PublishedWeights]]  # the published file of each option that names a file

    weights: FilePath = PUBLIC  # `public`: the published file in resources/checkpoints; `untrained`; or a path
    seed: Seed = 0  # of untrained weights
    precision: Literal["float32", "bfloat16"] = "float32"  # of convolutions; front ends are never less than float32
    storage: Literal["float32", "float16"] = "float32"

    @property
    def untrained(self) -> bool:
        """Whether the weights are random."""
        return self.weights == UNTRAINED

    @property
    def note(self) -> str:
        files = {path.name for path in self.checkpoints().values()}
        return next((known.note for known in self.PUBLISHED.values() if known.note and known.file in files), "")

    def checkpoints(self) -> dict[str, Path]:
        """The files that the weights are read from, by the options that name them; none for untrained weights."""
        if self.untrained:
            return {}
        chosen = {name: (getattr(self, name), known.file) for name, known in self.PUBLISHED.items()}
        return {
            name: FOLDER / file if value == PUBLIC else Path(value).expanduser()
            for name, (value, file) in chosen.items()
        }
