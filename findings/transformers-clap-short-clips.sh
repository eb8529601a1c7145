#!/bin/sh
# transformers 5.23.0: of a batch of recordings up to 10 s long, CLAP's feature extractor declares one, picked at random, to
# be longer, and the network with fusion embeds that one another way.
#
# ClapFeatureExtractor() has truncation="fusion" by default, which is for the checkpoints with fusion. Where no recording is
# longer than 10 s, `is_longer` is true for one of the batch, by numpy's global random numbers. Fusion then runs on it,
# though there is nothing to fuse: the embedding of a clip depends on chance and on the batch that it came in, and that of
# a clip alone is always the other one than most clips of a batch have. Weights here are random; the code is that of all.
# To avoid it, set is_longer to False for recordings up to 10 s before they go to the network.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 torch==2.13.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - 2> "$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import numpy as np
import torch
import transformers
from transformers import ClapAudioConfig, ClapAudioModelWithProjection, ClapFeatureExtractor

RATE = 48000
SMALL = {"depths": [1, 1, 1, 1], "num_attention_heads": [2, 2, 2, 2], "patch_embeds_hidden_size": 32, "hidden_size": 256}
torch.manual_seed(0)
network = ClapAudioModelWithProjection(ClapAudioConfig(enable_fusion=True, **SMALL)).eval()
extractor = ClapFeatureExtractor()
clips = [0.1 * np.random.default_rng(seed).standard_normal(5 * RATE) for seed in range(4)]


@torch.no_grad()
def embedded(clips, seed, fixed=False):
    np.random.seed(seed)
    inputs = extractor(clips, sampling_rate=RATE, return_tensors="pt")
    longer = inputs["is_longer"].flatten().tolist()
    if fixed:
        inputs["is_longer"][:] = False
    return network(**inputs).audio_embeds, longer


print("transformers", transformers.__version__, "torch", torch.__version__.split("+")[0])
plain, _ = embedded(clips, 0, fixed=True)
marked = set()
for seed in range(4):
    found, longer = embedded(clips, seed)
    alike = torch.cosine_similarity(found, plain)
    marked.add(longer.index(True))
    print(f"four clips of 5 s, seed {seed}: is_longer {longer}, cosine to is_longer=False",
          [round(value, 2) for value in alike.tolist()])
    assert sum(longer) == 1 and [value < 0.99 for value in alike.tolist()] == longer, "the behaviour changed"
assert len(marked) > 1, "the behaviour changed"
alone, longer = embedded(clips[:1], 0)
cosine = torch.cosine_similarity(alone, plain[:1]).item()
print(f"the first clip alone: is_longer {longer}, cosine {cosine:.2f}")
assert longer == [True] and cosine < 0.99, "the behaviour changed"
PYTHON
# Seen:
# transformers 5.23.0 torch 2.13.0
# four clips of 5 s, seed 0: is_longer [True, False, False, False], cosine to is_longer=False [0.55, 1.0, 1.0, 1.0]
# four clips of 5 s, seed 1: is_longer [False, True, False, False], cosine to is_longer=False [1.0, 0.57, 1.0, 1.0]
# four clips of 5 s, seed 2: is_longer [True, False, False, False], cosine to is_longer=False [0.55, 1.0, 1.0, 1.0]
# four clips of 5 s, seed 3: is_longer [False, False, True, False], cosine to is_longer=False [1.0, 1.0, 0.55, 1.0]
# the first clip alone: is_longer [True], cosine 0.55
