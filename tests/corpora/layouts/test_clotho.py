"""The Clotho layout: what just works, and what is refused with file, row and value."""

import unicodedata
from pathlib import Path

import pytest

from earwitness.corpora.layouts.clotho import Clotho, ClothoOptions, read_captions
from earwitness.corpora.tables import ListedClip
from earwitness.errors import CorpusError
from tests.places import shared

HEADER = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5"


def row(name, captions=5):
    cells = [name, *(f"Rain falls {number}." for number in range(1, captions + 1))]
    return ",".join(cells) + "," * (5 - captions)


def corpus(root, **tables):
    """Write tables (split -> lines below the header, or the whole as text or bytes) and make the splits' folders."""
    for split, table in tables.items():
        if not isinstance(table, str | bytes):
            table = "\n".join([HEADER, *table]) + "\n"
        text = table if isinstance(table, bytes) else table.encode()
        (root / f"clotho_captions_{split}.csv").write_bytes(text)
        (root / split).mkdir(exist_ok=True)
    return root


def audio(root, split, *names):
    (root / split).mkdir(exist_ok=True)
    for name in names:
        (root / split / name).touch()


def listing(root):
    return Clotho(ClothoOptions(layout="clotho", audio=str(root))).listing(root)


def refusal(root):
    """What is wrong with a folder, one problem a line; whatever is listed nonetheless is there to be checked."""
    found = listing(root)
    assert found.problems and all((root / clip.path).is_file() for clip in found.clips if clip.path is not None)
    return "".join(f"{problem}\n" for problem in found.problems)


def nothing_listed(root):
    with pytest.raises(CorpusError) as caught:
        listing(root)
    return str(caught.value)


def one(root, *rows, names=("a.wav",)):
    """The refusal of a corpus of one split."""
    audio(corpus(root, development=list(rows)), "development", *names)
    return refusal(root)


def test_three_splits_in_order(tmp_path):
    tables = {split: [row("b.wav"), row("a.wav")] for split in ("evaluation", "development", "validation")}
    corpus(tmp_path, **tables)
    for split in tables:
        audio(tmp_path, split, "a.wav", "b.wav")
    clips = listing(tmp_path).clips
    assert [clip.clip_id for clip in clips[:3]] == ["development/b.wav", "development/a.wav", "validation/b.wav"]
    captions = tuple(f"Rain falls {number}." for number in range(1, 6))
    assert clips[0] == ListedClip("development/b.wav", "development", "development/b.wav", captions)
    assert len({clip.clip_id for clip in clips}) == 6  # the same name in two splits is two clips


def test_an_absent_split_is_simply_absent(tmp_path):
    audio(corpus(tmp_path, evaluation=[row("a.wav")]), "evaluation", "a.wav")
    (tmp_path / "development").mkdir()
    assert {clip.split for clip in listing(tmp_path).clips} == {"evaluation"}


@pytest.mark.parametrize(
    "name", [" leading.wav", "trailing .wav", "it&#39;s.wav", "雨 на крыше.wav", "naïve.wav", "#1, loud.wav"]
)
def test_odd_names_stay_as_they_are(tmp_path, name):
    cell = f'"{name}"' if "," in name else name
    audio(corpus(tmp_path, development=[row("a.wav"), row(cell)]), "development", "a.wav", name)
    assert listing(tmp_path).clips[1].clip_id == f"development/{name}"


def test_decomposed_names_stay_decomposed(tmp_path):
    name = unicodedata.normalize("NFD", "café.wav")
    audio(corpus(tmp_path, development=[row(name)]), "development", name)
    assert listing(tmp_path).clips[0].clip_id == f"development/{name}"


def test_audio_in_folders_below(tmp_path):
    (tmp_path / "development" / "part1").mkdir(parents=True)
    audio(corpus(tmp_path, development=[row("part1/a.wav")]), "development", "part1/a.wav")
    assert listing(tmp_path).clips[0].path == "development/part1/a.wav"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_ways_to_save_a_table(tmp_path, end, mark, delimiter):
    lines = [HEADER, row("a.wav"), "", row("b.wav"), ",,,,,"]
    text = end.join(line.replace(",", delimiter) for line in lines) + end
    audio(corpus(tmp_path, development=mark + text.encode()), "development", "a.wav", "b.wav")
    clips = listing(tmp_path).clips
    assert [clip.clip_id for clip in clips] == ["development/a.wav", "development/b.wav"]
    assert clips[1].captions[4] == "Rain falls 5."


def test_semicolons_with_commas_in_captions(tmp_path):
    text = "file_name;caption_1;caption_2\na.wav;Rain, then wind, then rain;A dog, far\n"
    audio(corpus(tmp_path, development=text), "development", "a.wav")
    assert listing(tmp_path).clips[0].captions == ("Rain, then wind, then rain", "A dog, far")


def test_quoted_line_breaks_become_blanks(tmp_path):
    text = 'file_name,caption_1,caption_2\r\n"a.wav","Rain\r\nfalls\nhere","He says ""now"""\r\n'
    audio(corpus(tmp_path, development=text), "development", "a.wav")
    assert listing(tmp_path).clips[0].captions == ("Rain falls here", 'He says "now"')


def test_fewer_captions(tmp_path):
    rows = [row("a.wav", 3), "b.wav,Only one", row("c.wav")]
    audio(corpus(tmp_path, development=rows), "development", "a.wav", "b.wav", "c.wav")
    assert [len(clip.captions) for clip in listing(tmp_path).clips] == [3, 1, 5]


def test_captions_follow_their_numbers_and_other_columns_are_noted(tmp_path):
    text = "keywords,caption_2,file_name,caption_1\nrain,second,a.wav,first\n"
    audio(corpus(tmp_path, development=text), "development", "a.wav")
    found = listing(tmp_path)
    assert found.clips[0].captions == ("first", "second")
    assert found.notes["ignored_columns"] == {"clotho_captions_development.csv": ["keywords"]}


def test_audio_that_is_not_listed_is_counted(tmp_path):
    names = ["a.wav", "b.flac", "c.MP3", "notes.txt", "._a.wav"]
    audio(corpus(tmp_path, development=[row("a.wav")]), "development", *names)
    assert listing(tmp_path).notes["unlisted_audio"] == {"development": 2}


def test_no_folder(tmp_path):
    assert "nowhere does not exist" in nothing_listed(tmp_path / "nowhere")


def test_no_split(tmp_path):
    (tmp_path / "train").mkdir()
    message = nothing_listed(tmp_path)
    assert "Looked for: development/ with clotho_captions_development.csv" in message and "'train'" in message


def test_half_splits(tmp_path):
    corpus(tmp_path, development=[row("a.wav")], validation=[row("a.wav")])
    (tmp_path / "validation").rmdir()
    audio(tmp_path, "evaluation", "a.wav", "b.wav")
    message = refusal(tmp_path)
    assert "clotho_captions_development.csv" in message and str(tmp_path / "development") in message
    assert "is empty" in message and "is missing" in message
    assert "evaluation/ holds 2 recordings" in message and "clotho_captions_evaluation.csv" in message


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("filename,caption_1", "'file_name' is missing | 'filename', 'caption_1'; did you mean"),
        ("file_name,caption", "'caption_1' is missing"),
        ("file_name,caption_1,caption_3", "caption_3 | caption_2 is missing"),
        (
            "file_name,caption_1,caption_3,caption_99999999",
            "caption_99999999 | caption_2, caption_4 to caption_99999998 is missing",
        ),
        ("file_name,caption_1,caption_1", "'caption_1' stands more than once"),
    ],
)
def test_headers(tmp_path, header, said):
    text = f"{header}\na.wav,Rain falls{',Wind' * (header.count(',') - 1)}\n"
    audio(corpus(tmp_path, development=text), "development", "a.wav")
    message = refusal(tmp_path)
    assert all(fact in message for fact in [*said.split(" | "), "clotho_captions_development.csv"])


@pytest.mark.parametrize("text", ["", "\n\n", HEADER, HEADER + "\n\n"])
def test_an_empty_table(tmp_path, text):
    audio(corpus(tmp_path, development=text), "development", "a.wav")
    assert "clotho_captions_development.csv: is empty" in refusal(tmp_path)


def test_duplicate_names(tmp_path):
    message = one(tmp_path, row("a.wav"), row("b.wav"), row("a.wav"), names=["a.wav", "b.wav"])
    assert "clotho_captions_development.csv, row 2: 'a.wav' is listed 2 times, in rows 2, 4" in message


def test_names_equal_but_for_case(tmp_path):
    message = one(tmp_path, row("a.wav"), row("A.WAV"), names=["a.wav", "A.WAV"])
    assert "'a.wav' (row 2) and 'A.WAV' (row 3)" in message and "case" in message


def test_names_equal_but_for_unicode_form(tmp_path):
    names = [unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD")]
    message = one(tmp_path, *map(row, names), names=names)
    assert r"'\xe9.wav' (row 2) and 'e\u0301.wav' (row 3)" in message


@pytest.mark.parametrize("cells", ["a.wav,,,,,", "a.wav"])
def test_a_clip_without_captions(tmp_path, cells):
    assert "row 2: 'a.wav' has no caption" in one(tmp_path, cells)


@pytest.mark.parametrize("caption", ["...", " ", "?! -", '" "'])
def test_a_caption_without_a_word(tmp_path, caption):
    message = one(tmp_path, f"a.wav,Rain falls.,{caption}")
    assert f"row 2: the caption {caption.strip(chr(34))!r} of 'a.wav' has no word" in message


def test_rows_without_a_file_and_rows_whose_file_was_renamed_are_listed(tmp_path):
    rows = [row("a.wav"), row("b.wav"), row("c d.wav"), row("it&#39;s.wav"), row("e.wav")]
    names = ["a.wav", "c_d.flac", "it's.wav", "e.ogg", "e.mp3", "unnamed.wav"]
    audio(corpus(tmp_path, development=rows), "development", *names)
    found = listing(tmp_path)
    assert found.problems == [] and found.notes["unlisted_audio"] == {"development": 3}
    assert [(clip.name, clip.path, clip.found_by) for clip in found.clips] == [
        ("a.wav", "development/a.wav", "name"),
        ("b.wav", None, ""),
        ("c d.wav", "development/c_d.flac", "odd character + extension"),
        ("it&#39;s.wav", "development/it's.wav", "html entity"),
        ("e.wav", None, ""),
    ]
    assert [bool(clip.problem) for clip in found.clips] == [False, False, False, False, True]
    assert "may be 'e.mp3' or 'e.ogg'" in found.clips[-1].problem


def test_metadata_tell_where_recordings_come_from(tmp_path):
    audio(corpus(tmp_path, development=[row("a.wav"), row("b.wav"), row("caf&#39;.wav")]), "development", "a.wav")
    table = "file_name,keywords,sound_id,license\na.wav,\xe9,123,cc\nb.wav,x,Not found,cc\ncaf_.wav,y,7,cc\n"
    (tmp_path / "clotho_metadata_development.csv").write_bytes(table.encode("latin-1"))
    found = listing(tmp_path)
    assert [clip.sources for clip in found.clips] == [(("freesound", "123"),), (), (("freesound", "7"),)]
    told = found.notes["metadata"]["clotho_metadata_development.csv"]
    assert (told["clips"], told["clips_without_row"], told["renamed"]) == (3, 0, 1)
    assert tmp_path / "clotho_metadata_development.csv" in Clotho(
        ClothoOptions(layout="clotho", audio=str(tmp_path))
    ).tables(tmp_path)


def test_tables_apart_from_the_audio(tmp_path):
    (tmp_path / "tables").mkdir()
    corpus(tmp_path / "tables", development=[row("a.wav")])
    audio(tmp_path, "development", "a.wav")
    options = ClothoOptions(layout="clotho", audio=str(tmp_path), tables=str(tmp_path / "tables"))
    (clip,) = Clotho(options).listing(tmp_path).clips
    assert clip.path == "development/a.wav"


def test_more_fields_than_the_header(tmp_path):
    message = one(tmp_path, row("a.wav") + ",and more, even")
    assert "row 2: 'a.wav' has 8 fields" in message and "header 6" in message


def test_the_header_again(tmp_path):
    message = one(tmp_path, row("a.wav"), HEADER)
    assert "row 3: " in message and "header" in message and "'file_name'" in message


def test_not_utf8(tmp_path):
    text = "\n".join([HEADER, row("a.wav"), row("café.wav")])
    audio(corpus(tmp_path, development=text.encode("latin-1")), "development", "a.wav")
    message = refusal(tmp_path)
    assert "clotho_captions_development.csv, row 3: is not UTF-8" in message and "0xe9 in 'caf\\xe9.wav" in message


def test_not_utf8_behind_a_byte_order_mark(tmp_path):
    text = b"\xef\xbb\xbf" + f"{HEADER}\n".encode() + b"\xe9.wav,Rain\n"
    audio(corpus(tmp_path, development=text), "development", "a.wav")
    message = refusal(tmp_path)
    assert "row 2: is not UTF-8" in message and "0xe9 in '\\xe9.wav,Rain'" in message


def test_utf16(tmp_path):
    audio(corpus(tmp_path, development=HEADER.encode("utf-16")), "development", "a.wav")
    assert "row 1: is not UTF-8 (byte 0xff" in refusal(tmp_path)


def test_a_quotation_mark_that_is_never_closed(tmp_path):
    message = one(tmp_path, row("a.wav"), '"b.wav,Rain', row("c.wav"))
    assert "row 3: " in message and "unexpected end of data" in message


@pytest.mark.parametrize("name", ["../x.wav", "/etc/x.wav", "sub/../../x.wav"])
def test_names_outside_the_folder(tmp_path, name):
    assert f"row 2: {name!r} leads out of" in one(tmp_path, row(name))


def test_names_with_control_characters_and_without_any(tmp_path):
    message = one(tmp_path, row('"a\n.wav"'), row(" "), names=["a\n.wav"])
    assert "row 2: 'a\\n.wav' has a control character" in message
    assert "row 4: the file name is ' '" in message


def test_a_nul_in_a_caption(tmp_path):
    message = one(tmp_path, "a.wav,Rain\0 falls")
    assert "row 2: " in message and "'Rain\\x00 falls' of 'a.wav'" in message and "NUL" in message


def test_all_offenders_of_all_splits_in_one_message(tmp_path):
    corpus(
        tmp_path, development=[row("a.wav"), "b.wav,..."], validation=[row("a.wav"), row("a.wav")], evaluation="x\ny"
    )
    for split in ("development", "validation", "evaluation"):
        audio(tmp_path, split, "a.wav")
    message = refusal(tmp_path)
    assert "development.csv, row 3: the caption '...'" in message
    for said in ("validation.csv, row 2: 'a.wav' is listed 2 times", "evaluation.csv: the column 'file_name'"):
        assert said in message


def test_rows_are_listed_beside_the_problems(tmp_path):
    rows = [row("a.wav"), row("gone.wav"), "b.wav,...", row("a.wav"), row("../c.wav"), row("d.wav") + ",more"]
    audio(corpus(tmp_path, development=rows, evaluation="x\ny"), "development", "a.wav", "b.wav", "c.wav", "d.wav")
    found = listing(tmp_path)
    assert [clip.path for clip in found.clips] == ["development/a.wav", None, "development/b.wav"]
    for number in (2, 4, 6, 7):
        assert any(f"clotho_captions_development.csv, row {number}: " in problem for problem in found.problems)


def test_tables_are_those_that_are_there(tmp_path):
    layout = Clotho(ClothoOptions(layout="clotho", audio="data"))
    assert layout.tables(tmp_path) == layout.tables(tmp_path / "nowhere") == []
    corpus(tmp_path, evaluation=[], development=[])
    names = ["clotho_captions_development.csv", "clotho_captions_evaluation.csv"]
    assert layout.tables(tmp_path) == [tmp_path / name for name in names]


def test_options_are_strict():
    with pytest.raises(ValueError, match="audio"):
        ClothoOptions(layout="clotho", audio="")


@pytest.mark.parametrize(("split", "clips"), [("development", 3839), ("validation", 1045), ("evaluation", 1045)])
def test_the_real_tables(split, clips):
    sheet, rows = read_captions(shared("captions", "clotho_v2", f"clotho_captions_{split}.csv"))
    assert len(rows) == clips and sheet.problems == []
    assert {len(row.captions) for row in rows} == {5}
    leading = {"development": 2, "validation": 1, "evaluation": 0}
    escaped = {"development": 21, "validation": 4, "evaluation": 8}
    assert sum(row.name.startswith(" ") for row in rows) == leading[split]
    assert sum("&#39;" in row.name for row in rows) == escaped[split]


@pytest.mark.parametrize(("name", "clips"), [("soundscapes", (300, 60, 100)), ("clotho_real", (0, 0, 25))])
def test_the_real_folders(name, clips):
    found = listing(shared(name))
    splits = [clip.split for clip in found.clips]
    assert tuple(splits.count(split) for split in ("development", "validation", "evaluation")) == clips
    assert not any(found.notes["unlisted_audio"].values())


def test_a_copy_that_differs_from_the_published_tables_is_noted(tmp_path):
    audio(corpus(tmp_path, development=[row("a.wav")]), "development", "a.wav")
    options = ClothoOptions(layout="clotho", audio=str(tmp_path), source="clotho-2.1")
    differs = Clotho(options).listing(tmp_path).notes["differs_from_published"]
    assert list(differs) == ["clotho_captions_development.csv"]
    assert differs["clotho_captions_development.csv"]["published_md5"] == "d4090b39ce9f2491908eebf4d5b09bae"
    assert "differs_from_published" not in listing(tmp_path).notes


def test_the_real_copy_differs_in_two_tables():
    tables = shared("captions", "clotho_v2")
    options = ClothoOptions(layout="clotho", audio="nowhere", tables=str(tables), source="clotho-2.1")
    found = Clotho(options).listing(Path("nowhere"))
    differs = {name: told["md5"][:8] for name, told in found.notes["differs_from_published"].items()}
    assert differs == {
        "clotho_captions_development.csv": "e5b090d4",
        "clotho_captions_validation.csv": "07c507b8",
    }
    splits = [clip.split for clip in found.clips]
    assert [splits.count(split) for split in ("development", "validation", "evaluation")] == [3839, 1045, 1045]
    assert len({clip.clip_id for clip in found.clips}) == 5929  # four names stand in two splits
    assert len(found.problems) == 3
    for split, problem in zip(("development", "validation", "evaluation"), found.problems, strict=True):
        assert problem.startswith(f"clotho_captions_{split}.csv ") and f"nowhere/{split} " in problem


def test_names_that_are_absolute_or_of_windows(tmp_path):
    names = [f"{tmp_path}/development/a.wav", "sub\\b.wav"]
    (tmp_path / "development" / "sub").mkdir(parents=True)
    audio(corpus(tmp_path, development=[row(name) for name in names]), "development", "a.wav", "sub/b.wav")
    found = listing(tmp_path)
    assert [clip.path for clip in found.clips] == ["development/a.wav", "development/sub/b.wav"]
    assert [clip.name for clip in found.clips] == ["a.wav", names[1]] and not found.problems
