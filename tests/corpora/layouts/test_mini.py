"""The miniature data set: reproducible, told apart by ear, exact in time, and described truthfully."""

import json
import re
from errno import ENOSPC
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from earwitness.corpora.layouts.mini import Mini, MiniOptions
from earwitness.corpora.layouts.mini.grammar import ADVERBS, LEXICON, describe
from earwitness.corpora.layouts.mini.scene import Group, Scene, mix, plan
from earwitness.corpora.layouts.mini.sounds import LEVELS, SOUNDS, event
from earwitness.errors import CorpusError, EarwitnessError, MismatchError
from earwitness.registry import LAYOUTS, load

RATE = 16000
TOGETHER = re.compile(r"\b(while|as|over|with)\b|at the same time")


def options(**changes):
    clips = changes.pop("clips", {"development": 6, "validation": 2, "evaluation": 0})
    return MiniOptions(layout="mini", clips=clips, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("mini")
    Mini(options()).make(root)
    return root


@pytest.fixture(scope="module")
def described():
    """Scenes of up to four events with their captions."""
    chosen = options(events=[1, 4], classes=14)
    result = []
    for number in range(300):
        rng = np.random.default_rng(number)
        scene = plan(rng, chosen)
        result.append((scene, describe(rng, scene)))
    return result


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.*")}


def words_of(text):
    return re.sub(r"[^a-z ]", "", text.lower()).split()


def test_same_options_give_the_same_bytes(made, tmp_path):
    Mini(options()).make(tmp_path)
    assert contents(tmp_path) == contents(made)
    assert len([name for name in contents(made) if name.endswith(".wav")]) == 8


def test_a_clip_does_not_depend_on_how_many_there_are(made, tmp_path):
    Mini(options(clips={"development": 2, "validation": 0, "evaluation": 1})).make(tmp_path)
    few, many = contents(tmp_path), contents(made)
    shared = [name for name in few if name in many and name.endswith(".wav")]
    assert len(shared) == 2 and all(few[name] == many[name] for name in shared)
    assert not (tmp_path / "clotho_captions_validation.csv").exists()
    few_rows, many_rows = (files["clotho_captions_development.csv"].splitlines() for files in (few, many))
    assert few_rows == many_rows[:3]


def test_splits_and_seeds_differ(made, tmp_path):
    first = contents(made)
    assert first["development/mini-development-0001.wav"] != first["validation/mini-validation-0001.wav"]
    Mini(options(clips={"development": 1, "validation": 0, "evaluation": 0}, seed=1)).make(tmp_path)
    name = "development/mini-development-0001.wav"
    assert contents(tmp_path)[name] != first[name]


def test_audio_is_mono_16_bit_unclipped_and_as_long_as_annotated(made):
    for clip in json.loads((made / "annotations.json").read_text())["clips"]:
        wave, rate = soundfile.read(made / clip["clip_id"], dtype="int16")
        assert soundfile.info(made / clip["clip_id"]).subtype == "PCM_16"
        assert rate == RATE and wave.ndim == 1 and 4 <= clip["seconds"] <= 6
        assert len(wave) == round(clip["seconds"] * RATE)
        assert 300 < np.abs(wave.astype(int)).max() < 32767


def test_other_sample_rates_hold_the_same_scenes():
    group = Group("bird", "normal", ((0.5, 1.5),))
    for rate in (22050, 44100):
        assert mix(np.random.default_rng(0), Scene(2.0, ((group,),)), rate).shape == (2 * rate,)


def summary(wave):
    """The shape of the mean spectrum in 24 bands, how it glides (late minus early centre) and how it pulses."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 512)[::160] * np.hanning(512)
    edges = np.unique(np.geomspace(2, 257, 25).astype(int))
    power = np.add.reduceat(np.abs(np.fft.rfft(frames)) ** 2, edges[:-1], axis=1) + 1e-6
    centre = (power @ np.arange(power.shape[1])) / power.sum(axis=1)
    half = len(centre) // 2
    glide = np.median(centre[half:]) - np.median(centre[:half])
    level = np.log(power.sum(axis=1))
    shape = np.log(power.mean(axis=0) / power.mean())
    return np.concatenate([shape, [glide, 2 * level.std(), 2 * np.abs(np.diff(level)).mean()]])


def heard(rng, sound):
    """A summary of one event at any loudness, over the noise floor."""
    seconds = round(rng.uniform(0.8, 2.0), 2)
    group = Group(sound, str(rng.choice(list(LEVELS))), ((0.0, seconds),))
    return summary(mix(rng, Scene(seconds, ((group,),)), RATE) / 32767)


def test_sounds_are_told_apart_by_nearest_centroid():
    rng = np.random.default_rng(0)
    names = list(SOUNDS)
    centroids = np.array([np.mean([heard(rng, name) for _ in range(12)], axis=0) for name in names])
    right = {
        name: np.mean([np.abs(centroids - heard(rng, name)).sum(axis=1).argmin() == place for _ in range(12)])
        for place, name in enumerate(names)
    }
    assert len(names) == 14 and set(names) == set(LEXICON)
    assert np.mean(list(right.values())) > 0.9, right


@pytest.mark.parametrize("sound", SOUNDS)
def test_events_fill_their_times_and_nothing_else(sound):
    rng = np.random.default_rng(1)
    onset, offset = 0.73, 2.11
    wave = mix(rng, Scene(3.0, ((Group(sound, "loud", ((onset, offset),)),),)), RATE) / 32767
    inside = np.zeros(len(wave), dtype=bool)
    inside[round(onset * RATE) : round(offset * RATE)] = True
    assert np.sqrt(np.mean(wave[~inside] ** 2)) < 0.001
    loud = np.flatnonzero(np.abs(wave) > 0.004) / RATE
    assert onset <= loud[0] < onset + 0.08 and offset - 0.35 < loud[-1] <= offset


def test_loudness_is_audible():
    for sound in SOUNDS:
        rng = np.random.default_rng(2)
        peaks = [np.abs(event(rng, sound, loudness, RATE, RATE)).max() for loudness in LEVELS]
        assert peaks[0] < peaks[1] < peaks[2]
    assert list(LEVELS) == ["soft", "normal", "loud"]


def test_events_keep_within_the_clip_and_repeats_apart(described):
    for scene, _ in described:
        for group in scene.groups:
            assert all(0 <= onset < offset <= scene.seconds for onset, offset in group.events)
            assert all(following[0] - before[1] > 0.03 for before, following in pairwise(group.events))
        sounds = [group.sound for group in scene.groups]
        assert len(set(sounds)) == len(sounds)
        assert 1 <= sum(len(group.events) for group in scene.groups) <= 4
        for earlier, later in pairwise(scene.stages):
            assert max(e[1] for g in earlier for e in g.events) <= min(e[0] for g in later for e in g.events)
        for foreground, background in (stage for stage in scene.stages if len(stage) == 2):
            assert all(onset < background.events[0][1] for onset, _ in foreground.events)
            assert all(background.events[0][0] <= onset for onset, _ in foreground.events)
            assert {foreground.loudness, background.loudness} != {"soft", "loud"}


def test_four_events_fit_in_one_second():
    tight = options(seconds=[1.0, 1.0], events=[4, 4], classes=2)
    rng = np.random.default_rng(3)
    for _ in range(40):
        assert len(mix(rng, plan(rng, tight), RATE)) == RATE


def test_captions_differ_and_read_like_captions(described):
    vocabulary = set()
    for scene, captions in described[:200]:
        texts = [" ".join(words_of(caption.text)) for caption in captions]
        assert len(texts) == len(set(texts)) == 5
        for caption in captions:
            assert caption.text[0].isupper() and 4 <= len(caption.text.split()) <= 32
            assert {phrase.group for phrase in caption.phrases} == set(range(len(scene.groups)))
        vocabulary.update(word for text in texts for word in text.split())
    assert 100 <= len(vocabulary) <= 200


def test_nouns_and_verbs_leave_a_choice():
    assert all(len(words.nouns) >= 3 and len(words.verbs) >= 3 for words in LEXICON.values())


def test_phrases_are_in_their_captions_at_their_spans(described):
    for scene, captions in described:
        for caption in captions:
            for phrase in caption.phrases:
                span = caption.text.split()[phrase.start_word : phrase.end_word]
                assert " ".join(word.strip(",.").lower() for word in span) == phrase.text
                named = LEXICON[scene.groups[phrase.group].sound]
                noun = next(noun for noun in named.nouns if phrase.text.startswith(noun))
                assert phrase.text.endswith(tuple(form for verb in named.verbs for form in verb)), noun


def test_order_words_agree_with_the_onsets(described):
    seen = set()
    for scene, captions in described:
        stage_of = [number for number, stage in enumerate(scene.stages) for _ in stage]
        for caption in captions:
            told = [stage_of[phrase.group] for phrase in caption.phrases]
            words = words_of(caption.text)
            assert told == sorted(told, reverse="after" in words[1:]), caption.text
            assert bool(TOGETHER.search(caption.text)) == any(len(stage) == 2 for stage in scene.stages), caption.text
            if len(scene.stages) > 1:
                seen.update(words)
    assert {"followed", "then", "before", "after", "finally"} <= seen


def test_sounds_told_together_overlap(described):
    checked = 0
    for scene, captions in described:
        if len(scene.stages) == 1 and len(scene.groups) == 2:
            (foreground, background) = scene.groups
            (start, end) = background.events[0]
            assert all(onset < end and offset > start for onset, offset in foreground.events)
            assert all(TOGETHER.search(caption.text) for caption in captions)
            checked += 1
    assert checked > 10


def test_counts_and_loudness_are_true(described):
    counts = {"twice": {2}, "two times": {2}, "three times": {3}, "four times": {4}, "several times": {3, 4}}
    told = set()
    for scene, captions in described:
        heard = {len(group.events) for group in scene.groups}
        levels = {group.loudness for group in scene.groups}
        for caption in captions:
            told.update(level for level, words in ADVERBS.items() if set(words) & set(words_of(caption.text)))
            for level, adverbs in ADVERBS.items():
                assert level in levels or not any(adverb in caption.text for adverb in adverbs)
            for phrase, possible in counts.items():
                assert possible & heard or phrase not in caption.text
    assert told == set(ADVERBS)


def test_listing_reads_back_what_make_wrote(made):
    listing = Mini(options()).listing(made)
    assert [clip.split for clip in listing.clips] == ["development"] * 6 + ["validation"] * 2
    captions = {f"{clip.clip_id}#{n}": text for clip in listing.clips for n, text in enumerate(clip.captions, start=1)}
    assert len(captions) == 40
    for clip in listing.clips:
        assert clip.path == clip.clip_id and (made / clip.path).is_file()
    assert {phrase.caption_id for phrase in listing.phrases} == set(captions)
    for phrase in listing.phrases:
        assert phrase.events and all(onset < offset for onset, offset in phrase.events)
        words = captions[phrase.caption_id].lower().replace(".", "").replace(",", "").split()
        assert words[phrase.start_word : phrase.end_word] == phrase.text.split()


def test_tables_are_the_annotations_and_the_captions_that_are_there(made, tmp_path):
    names = ["annotations.json", "clotho_captions_development.csv", "clotho_captions_validation.csv"]
    assert Mini(options()).tables(made) == [made / name for name in names]
    assert Mini(options()).tables(tmp_path) == []


def test_listing_refuses_what_other_options_made(made, tmp_path):
    with pytest.raises(MismatchError, match=r"settings\.seed"):
        Mini(options(seed=7)).listing(made)
    with pytest.raises(CorpusError, match=r"lacks annotations\.json"):
        Mini(options()).listing(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": [6.0, 4.0]}, "seconds: .* must be .least, most."),
        ({"seconds": [0.5, 4.0]}, "too short"),
        ({"events": [3, 1]}, "did you swap them"),
        ({"events": [1, 5]}, "at most 4"),
        ({"events": [0, 2]}, "greater than 0"),
        ({"events": [2]}, "at least 2 items"),
        ({"classes": 15}, "less than or equal to 14"),
        ({"sample_rate": 8000}, "greater than or equal to 16000"),
        ({"clips": {"development": 0, "validation": 0, "evaluation": 0}}, "every split has 0 clips"),
        ({"tempo": 3}, "Extra inputs"),
    ],
)
def test_options_are_refused_plainly(changes, message):
    with pytest.raises(ValidationError, match=message):
        options(**changes)


def test_whole_numbers_of_seconds_are_seconds():
    assert options(seconds=[4, 5]).seconds == [4.0, 5.0]


def test_a_full_disk_is_told_plainly(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EarwitnessError, match=r"disk is full.*mini-development-0001\.wav"):
        Mini(options()).make(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_registered_under_its_name():
    assert load(LAYOUTS["mini"].options) is MiniOptions and load(LAYOUTS["mini"].implementation) is Mini
    with pytest.raises(ImportError):
        from earwitness.corpora.layouts.mini import Maxi  # noqa: F401
