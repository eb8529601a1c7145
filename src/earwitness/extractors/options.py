"""What may be set of the extractors that are networks; cheap to import, unlike the networks themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat

from earwitness.errors import EarwitnessError, listed
from earwitness.fetch.checkpoints import FOLDER
from earwitness.options import FeatureOptions, FilePath

UNTRAINED, PUBLIC = "untrained", "public"
EXPERT_KEYS = ("stem", "file_name", "youtube_id", "md5")  # what clips are called there
EXPERT_FOLDERS = {"development": "train", "validation": "val", "evaluation": "test"}  # of the retrieval literature


class NetworkOptions(FeatureOptions):
    """What every network has: where its weights are from, and how precisely it computes and is stored."""

    FILE: ClassVar[str]  # the public file of its weights

    weights: FilePath = PUBLIC  # `public`: the published file in resources/checkpoints; `untrained`; or a path
    seed: NonNegativeInt = 0  # of untrained weights
    precision: Literal["float32", "bfloat16"] = "float32"  # of convolutions; front ends are never less than float32
    storage: Literal["float32", "float16"] = "float32"

    @property
    def untrained(self) -> bool:
        """Whether the weights are made up."""
        return self.weights == UNTRAINED

    def checkpoints(self) -> dict[str, Path]:
        """The files that the weights are read from, by what they are; none for untrained weights."""
        if self.untrained:
            return {}
        return {"weights": FOLDER / self.FILE if self.weights == PUBLIC else Path(self.weights).expanduser()}


class ExternalOptions(FeatureOptions):
    """Features that somebody else made, in the layout of the retrieval literature."""

    extractor: Literal["external"]
    folder: FilePath  # .../AudioExpert/{feature}, which holds {train,val,test}/{feature}.h5
    file: FilePath | None = None  # the name of these files without .h5; null: the folder's
    keys: Literal["auto", *EXPERT_KEYS] = "auto"  # auto: what finds most clips
    storage: Literal["float32", "float16"] = "float32"

    @property
    def computed(self) -> bool:
        """They are read."""
        return False

    @property
    def untrained(self) -> bool:
        """Whether the files say that nobody trained the weights, as those do that were exported from here."""
        try:
            return any(made_of(path).get("untrained", False) for path in self.files().values())
        except EarwitnessError:
            return False

    @property
    def name(self) -> str:
        """What the feature is called there."""
        return (self.file or Path(self.folder).name).removesuffix(".h5")

    def places(self) -> dict[str, Path]:
        """Where the files are to be, by the name of their split."""
        root = Path(self.folder).expanduser()
        return {folder: root / folder / f"{self.name}.h5" for folder in EXPERT_FOLDERS.values()}

    def files(self) -> dict[str, Path]:
        """The files that are there, by the name of their split; EarwitnessError where none is."""
        files = self.places()
        found = {folder: path for folder, path in files.items() if path.is_file()}
        if not found:
            heading = f"The features of `folder: {self.folder}` are not there; none of these files exists:"
            advice = (
                "`folder` is to be .../AudioExpert/{feature}; `file` names the files where they are called otherwise."
            )
            raise EarwitnessError(listed(heading, [str(path) for path in files.values()], advice))
        return found


def made_of(path: Path) -> dict[str, Any]:
    """What a feature file of the literature's layout says of its making: nothing, unless it was exported from here."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            told = json.loads(file.attrs.get("provenance", "{}"))
    except OSError as error:
        raise EarwitnessError(f"{path} cannot be read as HDF5: {error}.") from error
    except (TypeError, ValueError):  # somebody else's attribute
        return {}
    return told if isinstance(told, dict) else {}


class VggishOptions(NetworkOptions):
    """VGGish (extractors.md, section 2)."""

    FILE = "vggish-10086976.pth"
    PCA_FILE: ClassVar[str] = "vggish_pca_params-970ea276.pth"

    extractor: Literal["vggish"]
    postprocess: bool = False  # PCA and whole numbers from 0 to 255, as AudioSet's features are; false: raw
    pca: FilePath = PUBLIC  # the file of the PCA, which `postprocess` needs

    def checkpoints(self) -> dict[str, Path]:
        files = super().checkpoints()
        if files and self.postprocess:
            files["pca"] = FOLDER / self.PCA_FILE if self.pca == PUBLIC else Path(self.pca).expanduser()
        return files


class VggsoundOptions(NetworkOptions):
    """VGGSound's ResNet-18 with average pooling (extractors.md, section 3)."""

    FILE = "H.pth.tar"

    extractor: Literal["vggsound"]
    seconds: PositiveFloat | None = (
        None  # 10 as published: shorter clips are repeated, longer ones cut; null: whole clips
    )


class PannsCnn10Options(NetworkOptions):
    """PANNs' Cnn10 (extractors.md, section 4)."""

    FILE = "Cnn10_mAP=0.380.pth"

    extractor: Literal["panns_cnn10"]


class PannsCnn14Options(NetworkOptions):
    """PANNs' Cnn14 (extractors.md, section 4)."""

    FILE = "Cnn14_mAP=0.431.pth"

    extractor: Literal["panns_cnn14"]


class EfficientLatentOptions(NetworkOptions):
    """EfficientLatent (extractors.md, section 5)."""

    FILE = "effb2.pt"

    extractor: Literal["efficient_latent"]
    floor: Literal["clip", "batch"] = "clip"  # what the 120 dB floor is measured from; `batch` depends on batch mates
    padding: Literal["static", "same"] = "static"  # of convolutions: as for images of 260 x 260, or for what comes

    @property
    def shard_clips(self) -> int:
        """Where the floor is the batch's, what divides the work into batches counts, so it is not to be set."""
        return 16 if self.floor == "batch" else self.clips_per_shard
