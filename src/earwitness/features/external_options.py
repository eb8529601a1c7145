"""Options of external features: feature files of somebody else, in the layout of the retrieval literature.

Cheap to import, as the configuration is checked with it; what reads and writes the layout is in ``external.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import PositiveFloat, model_validator

from earwitness.errors import EarwitnessError, listed
from earwitness.options import FeatureOptions, FilePath

KEY_KINDS = ("stem", "file_name", "youtube_id", "md5")  # what clips are called in the layout's files
SPLIT_FOLDERS = {"development": "train", "validation": "val", "evaluation": "test"}  # the layout's names of splits


class ExternalOptions(FeatureOptions):
    """Features that somebody else made, in the layout of the retrieval literature."""

    extractor: Literal["external"]
    folder: FilePath  # .../AudioExpert/{feature}, which holds {train,val,test}/{feature}.h5
    file: FilePath | None = None  # the name of these files without .h5; null: the folder's
    keys: Literal["auto", "stem", "file_name", "youtube_id", "md5"] = "auto"  # auto: what finds most clips
    storage: Literal["float32", "float16"] = "float32"
    # Seconds from one frame to the next, which locating sounds needs, and that a frame was made from; null: not known,
    # and the same as from one to the next.
    hop: PositiveFloat | None = None
    window: PositiveFloat | None = None

    @model_validator(mode="after")
    def _window_of_a_hop(self) -> ExternalOptions:
        if self.window is not None and self.hop is None:
            raise ValueError(f"window: {self.window} is the length of a frame; `hop`, from one to the next, is needed")
        return self

    @property
    def computed(self) -> bool:
        """They are read."""
        return False

    @property
    def untrained(self) -> bool:
        """Whether the files say that they are of random weights, as those do that were exported from here."""
        try:
            return any(provenance_of(path).get("untrained", False) for path in self.files().values())
        except EarwitnessError:
            return False

    @property
    def name(self) -> str:
        """The feature's name in the layout."""
        return (self.file or Path(self.folder).name).removesuffix(".h5")

    def places(self) -> dict[str, Path]:
        """The files that may be there, by the folder of their split."""
        root = Path(self.folder).expanduser()
        return {folder: root / folder / f"{self.name}.h5" for folder in SPLIT_FOLDERS.values()}

    def files(self) -> dict[str, Path]:
        """The files that are there, by the folder of their split; EarwitnessError where none is."""
        files = self.places()
        found = {folder: path for folder, path in files.items() if path.is_file()}
        if not found:
            heading = f"The features of `folder: {self.folder}` are not there; none of these files exists:"
            advice = "`folder` should be .../AudioExpert/{feature}; set `file` where the files have another name."
            raise EarwitnessError(listed(heading, [str(path) for path in files.values()], advice))
        return found


def provenance_of(path: Path) -> dict[str, Any]:
    """The provenance in a feature file of the layout; empty, unless it was exported from here."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            content = json.loads(file.attrs.get("provenance", "{}"))
    except OSError as error:
        raise EarwitnessError(f"{path} cannot be read as HDF5: {error}.") from error
    except (TypeError, ValueError):  # somebody else's attribute
        return {}
    return content if isinstance(content, dict) else {}
