"""Fits annotated events to the recordings they are annotated in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from earwitness.corpora.report import Checked, clip_of

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
            kept = tuple((onset, min(offset, end)) for onset, offset in phrase.events if onset < end)
            checked.counts["beyond_the_end"] += len(phrase.events) - len(kept)
            checked.counts["cut"] += sum(offset > end for onset, offset in phrase.events if onset < end)
            checked.listing.phrases[place] = replace(phrase, events=kept)
    refused = [(clip, facts) for clip, facts in checked.good if clip.clip_id in beyond]
    checked.good = [(clip, facts) for clip, facts in checked.good if clip.clip_id not in beyond]
    for clip, facts in refused:
        events = ", ".join(f"{phrase.text!r} until {latest:g} s" for phrase, latest in beyond[clip.clip_id])
        reason = f"is {facts.seconds:.3f} s long, but annotated with {events}; is it cut short, or another recording?"
        checked.bad.append((clip, reason))
