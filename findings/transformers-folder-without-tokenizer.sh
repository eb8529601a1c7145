#!/bin/sh
# transformers 5.23.0: a model's folder without its tokenizer files gives a tokenizer without words, and no error.
#
# For BERT (all-MiniLM and most sentence encoders), RoBERTa (the text side of CLAP) and T5, AutoTokenizer makes a tokenizer
# of its special tokens alone. Texts of the same number of words, or all texts, become the same ids, so that the embeddings
# of unrelated captions are alike and every similarity looks excellent. With MPNet the first text raises an error.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0
"$folder/venv/bin/python" - "$folder" 2> "$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import json
import sys
from pathlib import Path

import transformers

CAPTIONS = ["a dog barks", "rain falls hard"]
print("transformers", transformers.__version__)
found = {}
for kind in ("bert", "roberta", "t5"):
    folder = Path(sys.argv[1]) / kind
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    config, tokenizer = (auto.from_pretrained(folder) for auto in (transformers.AutoConfig, transformers.AutoTokenizer))
    found[kind] = len(tokenizer), [tokenizer(text)["input_ids"] for text in CAPTIONS]
    print(f"{kind}: a vocabulary of {config.vocab_size}, a tokenizer of {found[kind][0]}; ids", *found[kind][1])
    assert found[kind][1][0] == found[kind][1][1], "the behaviour changed"
assert [size for size, _ in found.values()] == [5, 5, 104], "the behaviour changed"
PYTHON
# Seen:
# transformers 5.23.0
# bert: a vocabulary of 30522, a tokenizer of 5; ids [2, 1, 1, 1, 3] [2, 1, 1, 1, 3]
# roberta: a vocabulary of 50265, a tokenizer of 5; ids [2, 3] [2, 3]
# t5: a vocabulary of 32128, a tokenizer of 104; ids [3, 2, 3, 2, 3, 2, 1] [3, 2, 3, 2, 3, 2, 1]
