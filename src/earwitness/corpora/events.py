"""Fits annotated events to the recordings they are annotated in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from earwitness.corpora.report import Checked, clip_of
from earwitness.corpora.tables import ListedPhrase

TOLERANCE = 0.1  # seconds: as far as annotations run beyond the end of whole clips


def fit_events(checked: Checked) -> None:
    """Cut events that end up to ``TOLERANCE`` s beyond their clip's end, and refuse clips whose events end later.

    Such a clip was cut short on its way, or its annotations are another's. Cut events, and those that began beyond the
    end and vanish with it, are counted.
    """
    if not checked.listing.phrases:
        return
    seconds = {clip.clip_id: facts.seconds for clip, facts in checked.good}
    beyond = defaultdict(list)
    for place, phrase in enumerate(checked.listing.phrases):
        end = seconds.get(clip_of(phrase))
        latest = max((offset for _, offset in phrase.events), default=0.0)
        if end is None or latest <= end:
            continue
        if latest > end + TOLERANCE:
            beyond[clip_of(phrase)].append((phrase, latest))
        else:
            checked.listing.phrases[place] = _cut(checked, phrase, end)
    refused = [(clip, facts) for clip, facts in checked.good if clip.clip_id in beyond]
    checked.good = [(clip, facts) for clip, facts in checked.good if clip.clip_id not in beyond]
    checked.bad += [(clip, _why(facts.seconds, beyond[clip.clip_id])) for clip, facts in refused]


def _cut(checked: Checked, phrase: ListedPhrase, end: float) -> ListedPhrase:
    kept = tuple((onset, min(offset, end)) for onset, offset in phrase.events if onset < end)
    checked.counts["beyond_the_end"] += len(phrase.events) - len(kept)
    checked.counts["cut"] += sum(offset > end for onset, offset in phrase.events if onset < end)
    return replace(phrase, events=kept)


def _why(seconds: float, beyond: list[tuple[ListedPhrase, float]]) -> str:
    annotated = ", ".join(f"{phrase.text!r} until {latest:g} s" for phrase, latest in beyond)
    return f"is {seconds:.3f} s long, but annotated with {annotated}; is it cut short, or another recording?"
