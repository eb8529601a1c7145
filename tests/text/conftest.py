"""A few training captions and the vocabularies they give."""

import pytest

from earwitness.options import VocabularyOptions
from earwitness.text.vocabulary import Vocabulary, sentences_of

CAPTIONS = ["The rain falls, the wind blows.", "A dog barks", "rain falls on a roof"]


@pytest.fixture
def make():
    """Cleaned sentences and vocabulary of captions, by default the three above."""

    def make(captions=CAPTIONS, **options):
        options = VocabularyOptions.model_validate(options)
        sentences = sentences_of(captions, options)
        return sentences, Vocabulary.of(sentences, options)

    return make
