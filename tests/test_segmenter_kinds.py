"""Questions for a wider name: kinds answer for it, and nobody is a distractor of those that he is a kind of."""

import numpy as np
import pytest
import torch

import sseg
from sseg.open_vocabulary import OpenVocabularySegmenter
from tests.test_segmenter import WordModel, word_tokenizer

PEOPLE = [{"text": "person"}, {"text": "man", "wider": "person"}, {"text": "woman", "wider": "person"}, {"text": "sky"}]


@pytest.fixture
def zoo():
    """A dog on the left, grass on the right; "beast" is the wider name of dog and cat, and a word like any other."""
    words = [{"text": "beast"}, {"text": "dog", "wider": "beast"}, {"text": "cat", "wider": "beast"}]
    seg = OpenVocabularySegmenter(WordModel(), word_tokenizer, [*words, {"text": "grass"}, {"text": "sky"}])
    return seg, seg.encode(np.zeros((64, 64, 3), np.uint8))


def test_a_wider_name_is_answered_by_its_kinds(zoo):
    seg, encoded = zoo
    for asked in ("sky, beast", "sky, Beast", "sky, ghost|beast"):
        out = seg.ask(encoded, asked)
        assert (out.labels[:, :30] == 1).all() and (out.labels[:, 34:] == -1).all(), asked
        assert len(out.phrases) == 2 and out.winners[1] in ("beast", "Beast", "ghost")


def test_a_kind_that_is_asked_by_name_answers_for_itself(zoo):
    seg, encoded = zoo
    assert (seg.ask(encoded, "beast, dog").labels[:, :30] == 1).all()
    assert (seg.ask(encoded, "DOG, beast").labels[:, :30] == 0).all()
    assert (seg.ask(encoded, "beast, sky|dog").labels[:, :30] == 1).all()
    assert (seg.ask(encoded, "beast, cat").labels[:, :30] == 0).all()  # the cat is named, the dog still answers


def test_kinds_without_wider_names_are_words_like_others():
    seg = OpenVocabularySegmenter(WordModel(), word_tokenizer, [{"text": text} for text in ("beast", "dog", "grass")])
    out = seg.ask(seg.encode(np.zeros((64, 64, 3), np.uint8)), "beast")
    assert (out.labels == -1).all()


def test_a_wider_name_that_no_caption_said_is_known_by_its_kinds():
    seg = OpenVocabularySegmenter(WordModel(), word_tokenizer, [{"text": "dog", "wider": "beast"}, {"text": "grass"}])
    out = seg.ask(seg.encode(np.zeros((64, 64, 3), np.uint8)), "beast, ghost")
    assert out.known == [True, False] and (out.labels[:, :30] == 0).all()


def scores(tiny_weights, picture, words, asked):
    seg = sseg.load(tiny_weights, device="cpu")
    seg.model.config.too_close = 2.0  # random weights find all words alike; here that shuts nobody out
    own = OpenVocabularySegmenter(seg.model, seg.tokenizer, words)
    return own.ask(own.encode(picture), asked).coarse_scores


@pytest.mark.parametrize(("asked", "no_distractors", "distractors"), [
    ("person", ["person", "man", "woman"], ["sky"]),
    ("man", ["man", "person"], ["woman", "sky"]),
    ("MAN", ["man", "person"], ["woman", "sky"]),
    ("person, man", ["person", "man"], ["sky"]),
    ("sky", ["sky"], ["person", "man", "woman"]),
])  # fmt: skip
def test_who_is_a_distractor_of_whom(tiny_weights, picture, asked, no_distractors, distractors):
    """Without "wider" each word is for itself: known words that must not matter are taken out by hand."""
    found = scores(tiny_weights, picture, PEOPLE, asked)
    by_hand = {"person": "person|man|woman", "person, man": "person|woman, man"}.get(asked, asked)
    left = [{"text": text} for text in distractors]
    assert torch.allclose(found, scores(tiny_weights, picture, left, by_hand), atol=1e-5)
    assert not torch.allclose(found, scores(tiny_weights, picture, left[1:], by_hand), atol=1e-3)
    assert {*no_distractors, *distractors} <= {word["text"] for word in PEOPLE}
