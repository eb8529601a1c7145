#!/bin/sh
# scipy 1.17.1: ndimage.median_filter is wrong where its window is many times longer than the array.
#
# Smoothing the frame scores of sound events with one window for all clips meets this in short clips: with the default way
# of continuing beyond the ends, "reflect", arrays of even length are wrong from windows of some eight times their length
# on. No warning is given. The other ways of continuing are right, and so is "reflect" on an array that numpy.pad mirrored.
#
# Seen: the median of [0.1, 0.9] over 151 values, mirrored, is [0.9, 0.1] where it should be [0.1, 0.9]. Of the odd windows
# up to 299 these are wrong: 76 for 2 values, the first 17; 74 for 4, the first 35; 59 for 8, the first 65; 36 for 20, the
# first 161.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scipy==1.17.1 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import scipy
from scipy.ndimage import median_filter

print("scipy", scipy.__version__, "numpy", np.__version__)
print("median of [0.1, 0.9] over 151 values:", median_filter(np.array([0.1, 0.9]), size=151, mode="reflect"))
generator, wrong = np.random.default_rng(0), {}
for mode, pad in {"reflect": "symmetric", "nearest": "edge", "wrap": "wrap"}.items():
    for length in (2, 4, 8, 20):
        for size in range(3, 300, 2):
            x = generator.random(length)
            padded = np.pad(x, size // 2, mode=pad)
            expected = np.array([np.sort(padded[start : start + size])[size // 2] for start in range(length)])
            if not np.allclose(median_filter(x, size=size, mode=mode), expected):
                wrong.setdefault((mode, length), []).append(size)
for (mode, length), sizes in wrong.items():
    print(f"{mode}, {length} values: {len(sizes)} of 149 windows are wrong, the first of {sizes[0]}")
assert {mode for mode, _ in wrong} == {"reflect"} and len(wrong) == 4, "the behaviour changed"
PYTHON
