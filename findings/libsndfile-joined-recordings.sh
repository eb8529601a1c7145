#!/bin/sh
# libsndfile 1.2.2 (soundfile 0.14.0, and librosa 0.11 through it) reads the first of joined recordings and reports its
# length as that of the file, for Ogg Vorbis, Opus, FLAC and MP3; FFmpeg's libraries (av 18.1.0) decode all of them.
#
# Joining is how recorders continue a file and how radio streams are cut; a chain of Ogg streams is valid Ogg. Neither
# sf.info nor sf.read says that half of the bytes were not looked at.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check soundfile==0.14.0 av==18.1.0 numpy==2.2.6
"$folder/venv/bin/python" - "$folder" 2> "$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import sys
from pathlib import Path

import av
import numpy as np
import soundfile as sf

SECOND = 48000
print("libsndfile", sf.__libsndfile_version__, "av", av.__version__)
for suffix, kind in {"ogg": "VORBIS", "opus": "OPUS", "flac": "PCM_16", "mp3": "MPEG_LAYER_III"}.items():
    path = Path(sys.argv[1]) / f"joined.{suffix}"
    parts = []
    for seconds in (1, 2):
        noise = 0.1 * np.random.default_rng(seconds).standard_normal(seconds * SECOND)
        sf.write(path, noise, SECOND, format="OGG" if suffix == "opus" else suffix.upper(), subtype=kind)
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))
    read = len(sf.read(path)[0]) / SECOND
    with av.open(path) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0)) / SECOND
    print(f"{suffix}: 1 s and 2 s joined: soundfile reports {sf.info(path).frames / SECOND} s and reads {read} s,",
          f"av decodes {decoded:.1f} s")
    assert sf.info(path).frames == SECOND and read == 1 and abs(decoded - 3) < 0.1, "the behaviour changed"
PYTHON
# Seen:
# libsndfile 1.2.2 av 18.1.0
# ogg: 1 s and 2 s joined: soundfile reports 1.0 s and reads 1.0 s, av decodes 3.0 s
# opus: 1 s and 2 s joined: soundfile reports 1.0 s and reads 1.0 s, av decodes 3.0 s
# flac: 1 s and 2 s joined: soundfile reports 1.0 s and reads 1.0 s, av decodes 3.0 s
# mp3: 1 s and 2 s joined: soundfile reports 1.0 s and reads 1.0 s, av decodes 3.1 s
