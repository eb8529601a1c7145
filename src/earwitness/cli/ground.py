"""``earwitness ground`` and ``earwitness pictures``: phrases located in anybody's recordings, and pictures of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earwitness.cli.models import add_model, model_folder
from earwitness.errors import EarwitnessError, counted, listed

FORMATS = ("png", "svg", "pdf")
DRAWN = 20  # phrases in a picture, at most


def add_commands(commands: Any) -> None:
    """Add these to what ``ArgumentParser.add_subparsers`` returned."""
    what = 'recordings, and what to find in them, such as: yard.wav "a dog barking" rain'
    ground = commands.add_parser("ground", help="find when phrases are heard in recordings")
    ground.add_argument("words", nargs="+", metavar="FILE_OR_PHRASE", help=what)
    what = "a phrase, also one that looks like a file; may be given several times"
    ground.add_argument("--phrase", action="append", default=[], metavar="TEXT", help=what)
    add_model(ground, "a trained grounding experiment (default: the only one)")
    what = "find frames with a higher activation, from 0 to 1 (default: the model's, chosen on validation)"
    ground.add_argument("--threshold", type=_fraction, metavar="X", help=what)
    what = f"write events.csv, and for each recording an Audacity label track and a picture of up to {DRAWN} phrases"
    ground.add_argument("--out", type=Path, metavar="FOLDER", help=what)
    ground.add_argument("--json", action="store_true", help="print the events as JSON")
    ground.set_defaults(run=_ground)

    pictures = commands.add_parser("pictures", help="draw the captions and phrases of a grounding result")
    pictures.add_argument("seed", type=Path, metavar="SEED", help="results/{dataset}/{experiment}/seed-{n}")
    pictures.add_argument("--out", type=Path, metavar="FOLDER", required=True, help="one picture for each caption")
    what = "captions with more phrases are left out (default: 10)"
    pictures.add_argument("--phrases", type=int, metavar="N", default=10, help=what)
    what = "the folder of the data set's recordings (default: results/{dataset}/audio, as of mini)"
    pictures.add_argument("--audio", type=Path, metavar="FOLDER", help=what)
    pictures.set_defaults(run=_pictures)

    for parser in (ground, pictures):
        parser.add_argument("--format", choices=FORMATS, default="png", help="of pictures (default: png)")


def _ground(options: argparse.Namespace) -> int:
    from earwitness.corpora.tables import write_rows
    from earwitness.report.terminal import aligned
    from earwitness.serving.grounding import Locator

    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise EarwitnessError(f"--out {options.out} is a file; give the name of a folder.")
    files, phrases = told_apart(options.words, options.phrase)
    model = model_folder(options, "grounding")
    locator = Locator(model, options.weights, options.threshold)
    names, rows, content = _names(files), list[tuple](), list[dict[str, Any]]()
    for found in locator.locate(files, phrases):
        table = [["", "onset", "offset", "activation"]]
        notes = []
        for phrase in found.unknown:
            events = found.events.get(phrase, [])
            table += [[phrase, f"{e.onset:.2f}", f"{e.offset:.2f}", f"{e.activation:.3f}"] for e in events]
            rows += [(found.path, phrase, e.onset, e.offset, round(e.activation, 6)) for e in events]
            said = [_unknown(found, phrase)] if found.unknown[phrase] else []
            if not events and phrase in found.activations:
                highest = f"its highest activation is {found.activations[phrase].max():.3f}"
                said.insert(0, f"nothing above the threshold {found.threshold:.3g}; {highest}")
            notes += [f"{phrase}: {'; '.join(said)}"] if said else []
        if options.json:
            content.append(_content(found))
        else:
            lines = aligned(table) if len(table) > 1 else []
            print("\n".join([f"{found.path} ({found.seconds:.2f} s)", *lines, *notes, ""]))
        if options.out is not None:  # again with each recording, so that what takes long, the picture, comes last
            write_rows(options.out / "events.csv", ["file", "phrase", "onset", "offset", "activation"], rows)
            _write(options.out / names[found.path], found, options.format)
    if options.json:
        print(json.dumps(content, indent=2, ensure_ascii=False))
    if options.out is not None and not options.json:
        print(f"{options.out / 'events.csv'}, label tracks and pictures by {model}")
    if options.out is not None and len(phrases) > DRAWN:
        print(f"Pictures show the first {DRAWN} of {len(phrases)} phrases.", file=sys.stderr)
    return 0


def told_apart(words: Sequence[str], phrases: Sequence[str] = ()) -> tuple[list[Path], list[str]]:
    """Recordings and phrases among the words of a command line, to which ``phrases`` are added; each once.

    A word with the extension of a recording is a file, and so is one that names a path with a slash that exists. Any
    other word is a phrase, unless it may be meant as a file too: there is one, or it looks like a path.

    Raises EarwitnessError that names what is not clear, and for no file or no phrase.

    >>> told_apart(["yard.wav", "a dog barking"], ["rain"])
    ([PosixPath('yard.wav')], ['a dog barking', 'rain'])
    """
    from earwitness.audio.formats import EXTENSIONS
    from earwitness.corpora.csv_reader import half_character

    files, found, unclear = list[Path](), list[str](), list[str]()
    for word in words:
        path, slash = Path(word), os.sep in word
        there = os.path.exists(word)  # noqa: PTH110 (Path's own fails for long words)
        if path.suffix.lower() in EXTENSIONS or (slash and there):
            files.append(path)
        elif slash and not any(letter.isspace() for letter in word):
            unclear.append(f"{word!r}: there is no such file; give a phrase as `--phrase {word!r}`")
        elif there:
            unclear.append(f"{word!r}: give the phrase as `--phrase {word!r}`, or the file as ./{word}")
        else:
            found.append(word)
    if unclear:
        raise EarwitnessError(listed("These may be meant as files or as phrases:", unclear))
    found += phrases
    if bad := [repr(phrase) for phrase in found if half_character(phrase)]:
        raise EarwitnessError(listed("These phrases are not UTF-8:", bad))
    example = '`earwitness ground yard.wav "a dog barking"`'
    if not files:
        raise EarwitnessError(f"Find {', '.join(map(repr, found))} in which recording? Give a file, as in {example}.")
    if not found:
        raise EarwitnessError(f"Find what in {', '.join(map(str, files))}? Give a phrase, as in {example}.")
    return list(dict.fromkeys(files)), list(dict.fromkeys(found))


def _names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for what is written of each file: without its extension, and with a number where several have it."""
    names: dict[Path, str] = {}
    for path in files:
        numbered = (path.stem if number == 1 else f"{path.stem}-{number}" for number in range(1, len(files) + 1))
        names[path] = next(name for name in numbered if name not in names.values())
    return names


def _unknown(found: Any, phrase: str) -> str:
    """What is said of the words of a phrase that the model does not know."""
    if phrase not in found.activations:
        return "the model knows none of its words"
    return f"the model does not know {', '.join(map(repr, found.unknown[phrase]))}"


def _write(path: Path, found: Any, form: str) -> None:
    """The label track, then the picture of the first phrases, at ``path`` with their suffixes added."""
    import numpy as np

    from earwitness.files import write_text
    from earwitness.report.pictures import Row, draw, spectrogram

    labels = sorted((e.onset, e.offset, phrase) for phrase, events in found.events.items() for e in events)
    lines = [f"{onset:.6f}\t{offset:.6f}\t{' '.join(phrase.split())}\n" for onset, offset, phrase in labels]
    write_text(path.with_name(f"{path.name}.txt"), "".join(lines))
    rows = [
        Row(
            f"{phrase} ({_unknown(found, phrase)})" if found.unknown[phrase] else phrase,
            found.activations.get(phrase, np.zeros(0)),
            [(e.onset, e.offset) for e in found.events.get(phrase, [])],
        )
        for phrase in list(found.unknown)[:DRAWN]
    ]
    picture = path.with_name(f"{path.name}.{form}")
    sound = spectrogram(found.path, found.seconds)
    draw(picture, sound, rows, hop=found.hop, threshold=found.threshold, title=found.path.name)


def _content(found: Any) -> dict[str, Any]:
    """What is printed of a recording as JSON."""
    phrases = [
        {
            "phrase": phrase,
            "unknown": words,
            "highest": round(float(found.activations[phrase].max()), 6) if phrase in found.activations else None,
            "events": [
                {"onset": e.onset, "offset": e.offset, "activation": round(e.activation, 6)}
                for e in found.events.get(phrase, [])
            ],
        }
        for phrase, words in found.unknown.items()
    ]
    facts = {"file": str(found.path), "seconds": round(found.seconds, 6), "threshold": found.threshold}
    return {**facts, "hop": found.hop, "phrases": phrases}


def _pictures(options: argparse.Namespace) -> int:
    from earwitness.report.grounding import write_pictures

    if options.phrases < 1:
        raise EarwitnessError(f"--phrases {options.phrases}: captions with at least one phrase are drawn.")
    drawn = write_pictures(options.seed, options.out, options.audio, options.phrases, options.format)
    number = sum(1 for _ in drawn)
    print(f"{counted(number, 'picture')} in {options.out}")
    return 0


def _fraction(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return number
