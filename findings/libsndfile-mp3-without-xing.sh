#!/bin/sh
# libsndfile 1.2.2 (soundfile 0.14.0, and librosa 0.11.0 through it): of an mp3 with variable bitrate and without a Xing
# header a part is read, and the rest is dropped without an error.
#
# Such files come from streams that were recorded, and from encoders that write to a pipe. The length is estimated from the
# bitrate of the first frame, and reading stops there: of 20 s that begin loud (large frames) and end in silence (small
# ones) soundfile and librosa give 3.8 s. FFmpeg's libraries (av 18.1.0) decode all of it. The same recording with its Xing
# header is read whole.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check soundfile==0.14.0 librosa==0.11.0 av==18.1.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - "$folder" 2> "$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import sys
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile as sf

RATE = 44100
noise = 0.4 * np.random.default_rng(0).standard_normal(5 * RATE)
sound = np.concatenate([noise, np.zeros(15 * RATE)]).astype(np.float32)


def encoded(path, xing):
    with av.open(path, "w", options={"write_xing": xing}) as container:
        stream = container.add_stream("libmp3lame", rate=RATE, options={"global_quality": "200", "flags": "qscale"})
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with av.open(path) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0))
    read = {"soundfile": len(sf.read(path)[0]), "librosa": len(librosa.load(path, sr=None)[0]), "av": decoded}
    return {name: round(samples / RATE, 1) for name, samples in read.items()}


print("libsndfile", sf.__libsndfile_version__, "librosa", librosa.__version__, "av", av.__version__)
whole, part = (encoded(Path(sys.argv[1]) / f"{xing}.mp3", xing) for xing in ("1", "0"))
print("20 s with a Xing header, seconds read:", whole)
print("20 s without one, seconds read:", part)
assert min(whole.values()) >= 20 and part["av"] >= 20, "the behaviour changed"
assert part["soundfile"] == part["librosa"] < 5, "the behaviour changed"
PYTHON
