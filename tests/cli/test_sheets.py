"""Contact sheets: every picture is on a page, whole and beside its name."""

import numpy as np
import pytest

from sseg.cli import sheets


def rows(count, size=(90, 120)):
    """Rows of two tiles, each in a colour of its own."""
    return [
        sheets.Row(f"picture {i}", "note", [np.full((*size, 3), (i, part, 200), np.uint8) for part in (1, 2)])
        for i in range(count)
    ]


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (3, 1), (4, 1), (12, 1), (13, 2), (30, 3)])
def test_every_tile_is_painted_whole_and_once(count, pages):
    made = sheets.pages(rows(count), ["one", "two"])
    assert len(made) == pages
    found = np.concatenate([np.asarray(page).reshape(-1, 3) for page in made])
    for i in range(count):
        for part in (1, 2):
            assert (found == (i, part, 200)).all(1).sum() == 90 * 120


def test_pages_are_no_bigger_than_a_large_screen_shows_in_one_width():
    for size in ((192, 256), (192, 6), (8, 256), (192, 192)):
        (page,) = sheets.pages(rows(12, size), ["one", "two"])
        assert page.width < 1920 and page.height < 1500


@pytest.mark.parametrize(
    ("size", "expected"),
    [((960, 1280), (192, 256)), ((3, 4), (192, 256)), ((1, 5000), (1, 256)), ((1000, 10), (192, 2))],
)
def test_pictures_are_fitted_in_their_proportions(size, expected):
    assert sheets.fitted(size) == expected


def test_long_names_leave_room_for_the_note():
    plain, long = rows(1)[0], sheets.Row("wide name " * 40, "note", rows(1)[0].tiles)
    short, shortened = (np.asarray(sheets.pages([row], ["one", "two"])[0]) for row in (plain, long))
    assert short.shape == shortened.shape
    notes = short[:, -24 - 40 : -24], shortened[:, -24 - 40 : -24]
    np.testing.assert_array_equal(*notes)
