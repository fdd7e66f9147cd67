"""The sticker vocabulary and the pictures of its things."""

import json
import unicodedata

import numpy as np
import pytest
import torch

from sseg.errors import SSegError
from train.data.stickers import glyphs
from train.data.stickers.captions import describe_plural

MATERIALS = [
    "sky", "night sky", "sunset", "grass", "sand", "snow", "water", "brick wall", "wooden floor", "road", "forest",
    "stone wall", "carpet", "marble", "field of flowers", "lava", "gravel", "wheat field", "tiled floor", "dry leaves",
]  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary():
    return glyphs.load_vocabulary()


@pytest.fixture(scope="module")
def pictures(vocabulary):
    try:
        glyphs.find_font()
    except SSegError as error:
        pytest.skip(str(error))
    return glyphs.atlas(vocabulary=vocabulary)


def entries(vocabulary):
    return [*vocabulary.things, *vocabulary.materials]


def test_there_are_enough_things_and_the_materials_in_their_order(vocabulary):
    assert len(vocabulary.things) >= 600
    assert [material.name for material in vocabulary.materials] == MATERIALS
    assert vocabulary.phrases() == [entry.name for entry in entries(vocabulary)]


def test_no_phrase_stands_for_two_entries_in_singular_or_plural(vocabulary):
    owner = {}
    for entry in entries(vocabulary):
        for phrase in (entry.name, *entry.synonyms):
            for form in {phrase, describe_plural(phrase)}:
                assert owner.setdefault(form, entry.name) == entry.name, form


def test_phrases_are_plain_lower_case_words(vocabulary):
    for entry in entries(vocabulary):
        for phrase in (entry.name, *entry.synonyms):
            assert phrase == phrase.lower().strip() and "  " not in phrase
            assert all(unicodedata.category(c) in ("Ll", "Zs", "Pd") or c == "'" for c in phrase), phrase
        assert len(entry.synonyms) <= 3
    assert sum(bool(thing.synonyms) for thing in vocabulary.things) > len(vocabulary.things) / 2


def test_each_glyph_is_one_character_used_once(vocabulary):
    bare = [thing.glyph.replace("\ufe0f", "") for thing in vocabulary.things]
    assert all(len(glyph) == 1 for glyph in bare)
    assert len(set(bare)) == len(bare)


def test_the_longer_side_of_every_glyph_fills_its_cell_and_is_centred(pictures, vocabulary):
    assert pictures.shape == (len(vocabulary.things), 4, 128, 128) and pictures.dtype == torch.uint8
    for thing, alpha in zip(vocabulary.things, pictures[:, 3].numpy(), strict=True):
        ys, xs = np.nonzero(alpha >= glyphs.VISIBLE // 2)
        height, width = np.ptp(ys) + 1, np.ptp(xs) + 1
        assert 124 <= max(height, width) <= 126, (thing.name, width, height)
        assert abs((ys.min() + ys.max()) / 2 - 63.5) <= 1.5 and abs((xs.min() + xs.max()) / 2 - 63.5) <= 1.5, thing.name
    assert not pictures[:, 3, [0, -1]].any() and not pictures[:, 3, :, [0, -1]].any()


def differences(pictures):
    """(T, 4, 128, 128) -> (T, T): root mean square difference of colour and outline over the area either covers."""
    small = torch.nn.functional.interpolate(pictures.float() / 255, 32, mode="area")  # (T, 4, 32, 32)
    alpha = small[:, 3:]
    shown = torch.cat([small[:, :3] * alpha + 0.5 * (1 - alpha), 0.5 * alpha], 1).flatten(1)
    alpha = alpha.flatten(1)
    area = alpha.sum(1)
    covered = area[:, None] + area[None] - alpha @ alpha.T
    return torch.cdist(shown, shown) / (3 * covered).sqrt() + 9 * torch.eye(len(pictures))


def test_all_glyphs_look_different(pictures, vocabulary):
    """More than two camels do, or two padlocks: pairs that were left out because nobody could tell them apart."""
    twins = glyphs.Vocabulary(tuple(glyphs.Thing(glyph, glyph) for glyph in "🐪🐫🔒🔓👸🫅"), ())
    alike = differences(glyphs.atlas(vocabulary=twins))[[0, 2, 4], [1, 3, 5]].max()
    distance = differences(pictures)
    first, second = divmod(int(distance.argmin()), len(distance))
    assert distance.min() > alike, (vocabulary.things[first].name, vocabulary.things[second].name)


def test_transparent_pixels_carry_a_colour_of_the_glyph(pictures, vocabulary):
    """Black, which transparent pixels hold as drawn, would darken every edge that is sampled."""
    sun = pictures[vocabulary.phrases().index("sun")].float()
    clear = sun[3] == 0
    red, _, blue = (sun[channel][clear] for channel in range(3))
    assert clear.float().mean() > 0.1
    assert red.min() > 150 and (red > blue).all()


def test_known_glyphs_show_their_colours(pictures, vocabulary):
    def mean(name):
        cell = pictures[vocabulary.phrases().index(name)].float()
        return (cell[:3] * cell[3]).sum((1, 2)) / cell[3].sum()  # (3,) of 255

    assert mean("tomato").argmax() == 0 and mean("frog").argmax() == 1 and mean("fish").argmax() == 2
    assert mean("cloud").min() > 180 and mean("gorilla").max() < 110


def test_an_atlas_comes_back_from_its_file_without_a_font(pictures, vocabulary, tmp_path):
    some = glyphs.Vocabulary(vocabulary.things[:5], ())
    glyphs.save_atlas(tmp_path / "atlas.npz", pictures[:5], some)
    fewer = glyphs.Vocabulary(vocabulary.things[3:1:-1], ())
    assert torch.equal(glyphs.atlas(tmp_path / "atlas.npz", vocabulary=fewer), pictures[[3, 2]])
    with pytest.raises(SSegError, match=vocabulary.things[5].name):
        glyphs.atlas(tmp_path / "atlas.npz", vocabulary=vocabulary)
    with pytest.raises(SSegError, match="128 px, not 64"):
        glyphs.atlas(tmp_path / "atlas.npz", 64, fewer)
    with pytest.raises(SSegError, match="atlas.npz"):
        glyphs.save_atlas(tmp_path / "atlas.pt", pictures[:5], some)


def test_a_glyph_that_the_font_lacks_is_named(pictures):
    odd = glyphs.Vocabulary((glyphs.Thing("\U000e0b0b", "gizmo"),), ())
    with pytest.raises(SSegError, match="gizmo"):
        glyphs.atlas(vocabulary=odd)


def test_a_missing_font_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("SSEG_EMOJI_FONT", str(tmp_path / "none.ttf"))
    with pytest.raises(SSegError, match="fonts-noto-color-emoji.*SSEG_EMOJI_FONT"):
        glyphs.atlas()


def test_a_file_that_is_no_font_or_no_atlas_is_refused_in_a_sentence(tmp_path):
    for name in ("broken.ttf", "broken.npz"):
        (tmp_path / name).write_text("not a picture")
        with pytest.raises(SSegError, match=name):
            glyphs.atlas(tmp_path / name)


@pytest.mark.parametrize(("text", "fault"), [
    ('{"things": []}', "form"),
    ("not json", "form"),
    (json.dumps({"things": [{"glyph": "x", "name": "lawn", "synonyms": []}],
                 "materials": [{"name": "grass", "synonyms": ["lawn"]}]}), '"lawn" stands twice'),
])  # fmt: skip
def test_a_faulty_vocabulary_is_refused_in_a_sentence(tmp_path, text, fault):
    path = tmp_path / "words.json"
    path.write_text(text)
    with pytest.raises(SSegError, match=fault):
        glyphs.load_vocabulary(path)
    with pytest.raises(SSegError, match="Cannot read"):
        glyphs.load_vocabulary(tmp_path / "none.json")
