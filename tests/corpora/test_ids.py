"""What clips are called in a corpus."""

import pytest

from earwitness.corpora.ids import parts, shortened


@pytest.mark.parametrize(
    ("clip_ids", "called"),
    [
        (["test/Y.ogg", "train/Z.ogg"], ["Y.ogg", "Z.ogg"]),
        (["test/sub/Y.ogg"], ["sub/Y.ogg"]),
        (["test/Y.ogg", "train/Y.ogg", "train/Z.ogg"], ["test/Y.ogg", "train/Y.ogg", "Z.ogg"]),
        # The folder of a name reads as a split: alone it may stay, beside a clip of that very id it may not.
        (["test/test/Y.ogg"], ["test/Y.ogg"]),
        (["train/test/Y.ogg", "test/Y.ogg", "val/Y.ogg"], ["train/test/Y.ogg", "test/Y.ogg", "val/Y.ogg"]),
    ],
)
def test_clips_keep_the_names_of_their_tables(clip_ids, called):
    assert list(shortened(clip_ids).values()) == called


def test_parts_of_an_id():
    assert parts("test/sub/Y.ogg") == ("test", "sub/Y.ogg")
    assert parts("sub/Y.ogg") == ("", "sub/Y.ogg")
    assert parts("Y.ogg") == ("", "Y.ogg")
    assert parts("test") == ("", "test")
