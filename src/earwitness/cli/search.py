"""``earwitness index`` and ``earwitness search``: anybody's own recordings, found by a trained model."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from earwitness.cli.models import add_folder, add_model, model_folder, positive
from earwitness.errors import EarwitnessError, counted, listed

DEFAULT = Path("earwitness-index.h5")


def add_commands(commands: Any) -> None:
    """Add these to what ``ArgumentParser.add_subparsers`` returned."""
    index = commands.add_parser("index", help="embed the recordings of a folder, to be searched")
    index.add_argument("folder", type=Path, metavar="FOLDER", help="with recordings, at any depth")
    add_model(index, "a trained retrieval experiment")
    what = "processes that compute features (default: one for each core)"
    index.add_argument("--cores", type=positive, metavar="N", default=0, help=what)
    index.set_defaults(run=_index)

    search = commands.add_parser("search", help="find recordings of an index by what is heard in them")
    search.add_argument("texts", nargs="*", metavar="QUERY", help='such as "a dog barks while rain falls"')
    what = "find what sounds like this recording, itself left out; may be given several times"
    search.add_argument("--audio", type=Path, action="append", default=[], metavar="FILE", help=what)
    what = "find texts instead, among the lines of a txt or the captions of a table"
    search.add_argument("--texts", type=Path, metavar="TABLE", dest="table", help=what)
    search.add_argument("-k", type=positive, metavar="N", default=10, help="how many to print (default: 10)")
    search.add_argument("--json", action="store_true", help="print the results as JSON")
    search.set_defaults(run=_search)
    add_folder(search)

    for parser in (index, search):
        what = f"the file of the index (default: {DEFAULT})"
        parser.add_argument("--index", type=Path, metavar="FILE", default=DEFAULT, help=what)


def _index(options: argparse.Namespace) -> int:
    from earwitness.serving.indexing import update
    from earwitness.serving.models import none_given

    if options.model is None and options.experiment is None:
        raise none_given(options.results)
    model = model_folder(options, "retrieval")
    cores = options.cores or len(os.sched_getaffinity(0))
    try:
        done = update(options.folder, model, options.index, options.weights, cores)
    except KeyboardInterrupt:
        print("\nInterrupted: the same command goes on with what is left.", file=sys.stderr)
        return 130
    if done.unreadable:
        heading = f"{counted(len(done.unreadable), 'recording')} cannot be used, and left out:"
        print(listed(heading, [str(error) for error in done.unreadable]), file=sys.stderr)
    for remark in done.remarks:
        print(remark, file=sys.stderr)
    counts = ", ".join(f"{name}: {number}" for name, number in done.counts.items())
    print(f"{options.index} by {model}\n{counts}")
    return 0


def _search(options: argparse.Namespace) -> int:
    from earwitness.serving.searching import Searcher, read_texts

    if not options.texts and not options.audio:
        raise EarwitnessError(
            'Search for what? Give a text, such as "a dog barks", or a recording with `--audio FILE`.'
        )
    table = None if options.table is None else read_texts(options.table)
    # For texts alone a model is enough.
    index = None if table is not None and options.model is not None else options.index
    searcher = Searcher(index, options.model, options.weights)
    found = []
    for queries, embed in ((options.texts, searcher.of_texts), (options.audio, searcher.of_recordings)):
        if queries:
            vectors: Any = embed(queries)
            own = queries if queries is options.audio else ()
            hits = (
                searcher.clips(vectors, options.k, own) if table is None else searcher.texts(vectors, table, options.k)
            )
            found += list(zip(map(str, queries), hits, strict=True))
    kind = "path" if table is None else "text"
    if options.json:
        content = [
            {
                "query": query,
                "results": [{"rank": h.rank, "similarity": round(h.similarity, 6), kind: h.found} for h in hits],
            }
            for query, hits in found
        ]
        print(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join("\n".join([query, *map(_line, hits)]) for query, hits in found))
    for remark in searcher.remarks():
        print(remark, file=sys.stderr)
    unknown = dict.fromkeys(word for text in options.texts for word in searcher.model.unknown(text) or ())
    if unknown:
        print(f"Words that the model does not know: {', '.join(map(repr, unknown))}", file=sys.stderr)
    names = dict.fromkeys(hit.found for _, hits in found for hit in hits) if table is None else ()
    if gone := [name for name in names if not Path(name).exists()]:
        advice = "`earwitness index` with the same folder brings the index up to date."
        print(listed(f"{counted(len(gone), 'recording')} found are not there any more:", gone, advice), file=sys.stderr)
    return 0


def _line(hit: Any) -> str:
    return f"{hit.rank:4d}  {hit.similarity:7.4f}  {hit.found}"
