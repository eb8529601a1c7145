"""What the text towers share in the configuration. Quick to import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import model_validator

from earwitness.errors import EarwitnessError
from earwitness.extractors.options import PUBLIC, UNTRAINED
from earwitness.extractors.published import PublishedWeights
from earwitness.fetch.checkpoints import FOLDER
from earwitness.files import digest, sha256
from earwitness.options import FeatureOptions, FilePath, Seed, TextOptions, Tool, Use
from earwitness.text.options import FrozenOptions

SETTINGS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
TRAINED_ON = "were trained with clips of Clotho and AudioCaps, too"  # of both published files
TOKENIZER_FILES = (*SETTINGS, "vocab.json", "merges.txt", "vocab.txt")


class ClapTextOptions(FrozenOptions):
    """The text tower of a CLAP checkpoint: one vector of length 1 for each text."""

    PUBLISHED: ClassVar[Mapping[str, PublishedWeights]]
    bytes_of_caption = 1024 * 4

    weights: FilePath = PUBLIC  # as those of the feature of the same name
    seed: Seed = 0  # of untrained weights
    tokenizer: Tool = "auto"  # a folder with the files of the tower's tokenizer

    @model_validator(mode="after")
    def _on(self) -> ClapTextOptions:
        if self.tokenizer == "off":
            raise ValueError("`tokenizer: off` leaves no tokenizer; give a folder, or `auto`")
        return self

    @property
    def untrained(self) -> bool:
        """Whether the weights are random."""
        return self.weights == UNTRAINED

    def checkpoints(self) -> dict[str, str]:
        if self.untrained:
            return {}
        public = FOLDER / self.PUBLISHED["weights"].file
        return {"weights": str(public if self.weights == PUBLIC else Path(self.weights).expanduser())}

    def tokenizer_folder(self) -> Path:
        """The folder of the tokenizer. Raises EarwitnessError where there is none."""
        raise NotImplementedError

    def tokenizer_state(self) -> str:
        """Digest of the tokenizer's files; "none" where there are none."""
        try:
            folder = self.tokenizer_folder()
        except EarwitnessError:
            return "none"
        return digest({name: sha256(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()})

    def found(self) -> dict[str, str]:
        return {"tokenizer": self.tokenizer_state()}

    def problem(self) -> str:
        try:
            self.tokenizer_folder()
        except EarwitnessError as error:
            return str(error)
        return ""


def existing_tokenizer(folder: Path, what: str, *sets: tuple[str, ...]) -> Path:
    """The folder of a tokenizer ``what``; EarwitnessError where none of the ``sets`` of files is complete in it."""
    folder = folder.expanduser()
    if any(all((folder / name).is_file() for name in names) for names in sets):
        return folder
    wanted = ", or ".join(" and ".join(names) for names in sets)
    state = "is no folder" if not folder.is_dir() else "lacks its vocabulary"
    raise EarwitnessError(f"{folder}, the folder of the tokenizer of {what}, {state}. Put {wanted} of {what} there.")


def misfits(
    clap: str, uses: Iterable[Use], feature: Callable[..., FeatureOptions], text: Callable[..., TextOptions]
) -> Iterator[str]:
    """Lines for the uses of a CLAP, its gap included, that are not all of the CLAP that embeds an experiment's clips.

    Args:
        clap: the name of the feature and the text; uses: what the experiment reads.
        feature, text: as of ``ExperimentOptions.misfits``.
    """
    audio = _made_by((options := feature(clap)).extractor, options)
    found: dict[str, str] = {}
    for use in uses:
        if use.entry == clap and use.stage in ("features", "clap"):
            options = feature(clap, use.dataset)
            found[_of("feature", use)] = _made_by(options.extractor, options)
        if use.entry == clap and use.stage in ("text", "clap"):
            words = text(clap, use.dataset)
            found[_of("text", use)] = _made_by(words.kind, words)
    for what, made_by in found.items():
        if made_by != audio:
            advice = "; name its `dataset` in the feature and the text" if "/" in audio and "/" in made_by else ""
            yield f"clap: {clap!r}: its feature is of {audio}, its {what} of {made_by}; all must be of one CLAP{advice}"


def _of(kind: str, use: Use) -> str:
    return f"{kind} on {use.dataset}" if use.dataset else kind


def _made_by(kind: str, options: FeatureOptions | TextOptions) -> str:
    """What tells a CLAP from others, as far as options do: files of weights are compared by their digests later."""
    if uses := list(options.made_from().values()):
        return f"{kind} ({Path(uses[0].path('')).parent})"
    return f"{kind} (untrained, seed {getattr(options, 'seed', 0)})" if getattr(options, "untrained", False) else kind
