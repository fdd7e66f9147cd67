"""Slips of the pen: found where a letter is lost, doubled or swapped, and not where words only look alike."""

import pytest

from sseg.slips import slips

TEXTS = ["frog", "chilli", "giraffe", "grass", "dog", "flying saucer", "umbrella", "trial"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("frgo", "frog"), ("grsas", "grass"), ("girafe", "giraffe"), ("umbrela", "umbrella"), ("trail", "trial")],
)
def test_a_slip_finds_what_was_meant(word, meant):
    assert slips(word, TEXTS)[0] == meant


@pytest.mark.parametrize("word", ["hill", "dgo", "dog", "🛸", "", "frog legs", "gorf"])
def test_what_only_looks_alike_is_no_slip(word):
    assert [one for one in slips(word, TEXTS) if one != word] == []
