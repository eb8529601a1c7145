"""A tokenizer that reads "Hello world" as roberta-base does, of the same size, its other tokens made up."""

import json

import pytest

from earwitness.clap.laion.text import VOCABULARY

WORDS = {"Hello": 31414, "Ġworld": 232}


@pytest.fixture(scope="session")
def roberta(tmp_path_factory):
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    merges, pieces = [], []
    for word in WORDS:
        left = word[0]
        for right in word[1:]:
            merges.append(f"{left} {right}")
            left += right
            pieces.append(left)
    characters = [*bytes_to_unicode().values(), *(piece for piece in pieces if piece not in WORDS)]
    vocabulary = WORDS | {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": VOCABULARY - 1}
    taken = set(vocabulary.values())
    free = [number for number in range(VOCABULARY) if number not in taken]
    made_up = [*characters, *(f"made-up-{number}" for number in free)]
    vocabulary |= dict(zip(made_up, free, strict=False))
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    return folder
