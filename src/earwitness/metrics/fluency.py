"""FENSE's fluency error detector, and the metrics that it penalises (docs/metrics.md, section 1.8).

The detector is a BERT whose last hidden state at the first token goes through a linear layer and sigmoids, one for each
of ``OUTPUTS``; the last says whether a caption has any error. Its folder holds

- the weights: ``echecker_clotho_audiocaps_base.ckpt`` (or ``..._tiny.ckpt``) as FENSE's release V0.1 publishes it, or
  ``model.safetensors`` with the same names (``encoder.*``, ``clf.weight``, ``clf.bias``); one of them, no other;
- ``config.json`` and the tokeniser (``tokenizer.json`` or ``vocab.txt``, and ``tokenizer_config.json`` where there is
  one) of the public BERT it was trained from: bert-base-uncased, or prajjwal1/bert-tiny.

Nothing is downloaded, and a ``.ckpt`` is loaded with ``weights_only``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from earwitness.errors import EarwitnessError, listed
from earwitness.metrics import models
from earwitness.metrics.arguments import numbers, text_list

KEY = "fluency error detector"  # what reasons call it
PLACE = Path("resources/fense")  # where "auto" looks, from where Snakemake runs
OUTPUTS = ("add_tail", "repeat_event", "repeat_adv", "remove_conj", "remove_verb", "error")
TOKENS = 64  # of a text, the first and the last token included, that the detector reads
THRESHOLD = 0.9
PENALTY = 0.9
BERTS = {heads: models.UNCASED | {"num_attention_heads": heads} for heads in (12, 2)}
KNOWN = {
    "1a719f090af70614bbdb9f9437530b7e133c48cfa4a58d964de0d47fc974a2fa": models.Known(
        "echecker_clotho_audiocaps_base", BERTS[12]
    ),
    "90ed0ac5033ec497ec66d4f68588053813e085671136dae312097c96c504f673": models.Known(
        "echecker_clotho_audiocaps_tiny", BERTS[2]
    ),
}
UNUSED = ("encoder.pooler.", "encoder.embeddings.position_ids")  # in some checkpoints, and no part of the outputs


def find(model: str | PathLike = "auto") -> Path:
    """The detector's folder: ``auto`` is resources/fense where it is, ``off`` is none, all else is a path.

    Raises EarwitnessError with the reason where there is none, or where it does not hold one detector.

    >>> find("off")
    Traceback (most recent call last):
    earwitness.errors.EarwitnessError: The fluency error detector is turned off.
    """
    if model == "off":
        raise EarwitnessError(f"The {KEY} is turned off.")
    if model == "auto" and not PLACE.is_dir():
        raise EarwitnessError(f"There is no {KEY}: {PLACE} does not exist, and no folder is given.")
    folder = models.existing(PLACE if model == "auto" else Path(model), KEY)
    _described(folder)
    return folder


def label(folder: str | PathLike) -> str:
    """What the detector in a folder is called in a metric's name: letters, digits, ``_`` and ``-``.

    FENSE's name where the checkpoint and the BERT beside it are the published ones; else the folder's name and six
    digits of its ``state``.

    >>> label(find())
    'echecker_clotho_audiocaps_base'
    """
    folder = Path(folder)
    return _described(folder).label(KNOWN, lambda: models.configuration_facts(folder))


def state(model: str | PathLike = "auto") -> str:
    """Hex digest of the weights and settings of what ``find`` finds, "none" where it finds none.

    Cheap when called again: a file is only read again when its size or time changed.

    >>> state("off")
    'none'
    """
    return models.state_of(lambda: _described(find(model)))


def probabilities(texts: Sequence[str], folder: str | PathLike, device: str = "auto") -> np.ndarray:
    """The detector's probabilities of each error, in the order of ``OUTPUTS``: float64 [texts, 6].

    As FENSE does, texts lose what is neither a letter, a digit, ``_`` nor a blank, and are lower-cased; 64 tokens are
    read. An empty text has probabilities like any other. Computed in float32; ``device`` is torch's name, or ``auto``
    for the GPU that is there, else the CPU. Among other texts a text's probabilities may differ by rounding (1e-5).

    Raises EarwitnessError where the folder cannot be loaded, or gives no finite probability.

    >>> probabilities(["a dog barks and and"], find()).shape
    (1, 6)
    """
    texts, folder, device = text_list("The captions", texts), Path(folder), models.device_of(device)
    values = np.empty((len(texts), len(OUTPUTS)))
    if not len(texts):
        return values
    import torch

    network, tokenizer = _network(folder, _described(folder).state(), device)
    plain = [re.sub(r"[^\w\s]", "", text).lower() for text in texts]
    for batch in models.batches(plain, "Judging fluency", "caption"):
        chosen = [plain[one] for one in batch]
        inputs = tokenizer(chosen, truncation=True, max_length=TOKENS, padding=True, return_tensors="pt").to(device)
        with torch.inference_mode():
            first = network["encoder"](**inputs).last_hidden_state[:, 0]
            values[batch] = torch.sigmoid(network["clf"](first)).cpu().numpy()
    if not np.isfinite(values).all():
        raise EarwitnessError(f"The fluency error detector in {folder} gives probabilities that are not finite.")
    return values


def errors(probabilities: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """1 where the probability of an error is above the threshold, 0 elsewhere: float64 [texts] of [texts, 6].

    >>> errors([[0, 0, 0, 0, 0, 0.95], [0, 0, 0, 0, 0, 0.9]]).tolist()
    [1.0, 0.0]
    """
    return (np.asarray(probabilities)[:, -1] > threshold).astype(float)


def fluency_error_rate(errors: np.ndarray) -> tuple[float, np.ndarray]:
    """FER (docs/metrics.md, section 1.8): the share of captions with an error, and 0 or 1 for each, float64 [items].

    >>> fluency_error_rate([1, 0, 0, 0])[0]
    0.25
    """
    items = numbers("The errors", errors)
    return _mean(items), items


def spider_fl(spider: np.ndarray, errors: np.ndarray) -> tuple[float, np.ndarray]:
    """SPIDEr-FL (docs/metrics.md, section 1.8) from the items' SPIDEr and errors: the mean, and float64 [items].

    A caption with an error keeps a tenth of its SPIDEr. An item without a SPIDEr (NaN) is left out of the mean.

    >>> mean, items = spider_fl([0.5, 0.4, np.nan], [0, 1, 0])
    >>> round(mean, 3), items.round(3).tolist()
    (0.27, [0.5, 0.04, nan])
    """
    return _penalised(spider, errors)


def fense(similarity: np.ndarray, errors: np.ndarray) -> tuple[float, np.ndarray]:
    """FENSE (docs/metrics.md, section 1.8) from the items' SBERT-sim and errors: the mean, and float64 [items].

    A caption with an error keeps a tenth of its similarity.

    >>> fense([0.8, 0.5], [0, 1])[1].round(3).tolist()
    [0.8, 0.05]
    """
    return _penalised(similarity, errors)


def _penalised(values: np.ndarray, errors: np.ndarray) -> tuple[float, np.ndarray]:
    values, errors = numbers("The scores", values), numbers("The errors", errors)
    if values.shape != errors.shape:
        raise EarwitnessError(f"A penalty needs one error an item: {values.size} items, {errors.size} errors.")
    items = values * (1 - PENALTY * errors)
    return _mean(items), items


def _mean(items: np.ndarray) -> float:
    known = items[~np.isnan(items)]
    return float(known.mean()) if known.size else float("nan")


def _described(folder: Path) -> models.Folder:
    """The folder with its one weight file; EarwitnessError where there is none or more than one, or no tokenizer."""
    found = sorted([*folder.glob("*.ckpt"), *folder.glob("*.safetensors")])
    if not found:
        raise EarwitnessError(f"{folder} holds no detector: there is neither a .ckpt nor a .safetensors file in it.")
    if len(found) > 1:
        advice = "Keep the detector's only; the weights of the BERT it was trained from are not needed."
        raise EarwitnessError(listed(f"{folder} holds several weight files:", [file.name for file in found], advice))
    models.require_tokenizer(folder)
    return models.Folder(folder, tuple(found), (folder,))


@lru_cache(maxsize=1)
def _network(folder: Path, state: str, device: str) -> Any:
    """The loaded encoder and classifier, and the tokeniser; ``state`` makes a changed folder another one."""
    try:
        import torch
        from transformers import AutoConfig, AutoModel, AutoTokenizer
    except ImportError as error:
        raise EarwitnessError(f"The fluency error detector needs the package transformers: {error}.") from error
    with models.loading("a fluency error detector", folder):
        weights = _weights(_described(folder).weights[0])
        configuration = AutoConfig.for_model(**{"model_type": "bert"} | models.settings(folder / "config.json"))
        encoder = AutoModel.from_config(configuration, dtype=torch.float32, trust_remote_code=False)
        parts = {"encoder": encoder, "clf": torch.nn.Linear(configuration.hidden_size, len(OUTPUTS))}
        network = torch.nn.ModuleDict(parts)
        _require_fit(folder, weights, network.state_dict())
        network.load_state_dict(weights, strict=False)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=configuration, local_files_only=True, trust_remote_code=False
        )
        models.require_vocabulary(folder, tokenizer, encoder)
        return network.to(device).eval(), tokenizer


def _weights(file: Path) -> dict:
    """Tensors by name, without those that have no part in the outputs."""
    import torch

    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors: Any = load_file(file)
    else:
        content = torch.load(file, map_location="cpu", weights_only=True)
        tensors = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(tensors, dict):
            raise EarwitnessError(f"{file} is no checkpoint of the detector: it has no `state_dict`.")
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(UNUSED)}


def _require_fit(folder: Path, weights: dict, needed: dict) -> None:
    """Refuse weights that are not those of the network that config.json and the six outputs make."""
    shapes = {name: tuple(tensor.shape) for name, tensor in needed.items() if not name.startswith(UNUSED)}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    offenders = [
        f"{name}: {found.get(name, 'absent')} in the file, {shapes.get(name, 'absent')} by config.json"
        for name in sorted(shapes.keys() | found)
        if shapes.get(name) != found.get(name)
    ]
    if offenders:
        advice = "config.json must be that of the BERT that the detector was trained from."
        raise EarwitnessError(listed(f"The detector in {folder} does not fit its config.json:", offenders, advice))
