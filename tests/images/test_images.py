"""Pictures as people have them: every mode, every kind of damage."""

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from sseg import SSegError, images


def encode(image, fmt="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=fmt, **options)
    return buffer.getvalue()


RED = Image.new("RGB", (30, 20), (255, 0, 0))


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "pil", "array"])
def test_every_kind_of_source_gives_the_same_pixels(kind, tmp_path, picture):
    path = tmp_path / "p.png"
    picture.save(path)
    source = {"path": path, "str": str(path), "bytes": path.read_bytes(), "pil": picture, "array": np.asarray(picture)}
    out = images.read(source[kind])
    assert out.dtype == np.uint8 and out.flags.writeable
    assert np.array_equal(out, np.asarray(picture))


def test_reading_leaves_the_callers_picture_alone(picture):
    before = picture.tobytes()
    images.read(picture)[:] = 0
    assert picture.tobytes() == before


def test_transparency_becomes_white():
    rgba = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    rgba.putpixel((0, 0), (0, 0, 255, 128))
    out = images.read(encode(rgba))
    assert tuple(out[3, 3]) == (255, 255, 255) and np.allclose(out[0, 0], (127, 127, 255), atol=1)
    assert tuple(images.read(encode(Image.new("LA", (2, 2), (10, 0))))[0, 0]) == (255, 255, 255)
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 255, 0, 9, 9, 9])
    palette.putpixel((1, 0), 1)
    out = images.read(encode(palette, transparency=1))
    assert tuple(out[0, 0]) == (0, 255, 0) and tuple(out[0, 1]) == (255, 255, 255)


def test_cmyk_is_read_as_the_colour_that_it_prints():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink
    out = images.read(encode(cmyk, "JPEG", quality=95))
    assert out[8, 8, 0] > 200 and out[8, 8, 1:].max() < 60


def test_sixteen_bits_keep_their_order_and_range():
    ramp = (np.arange(256, dtype=np.uint32) * 257).astype(np.uint16).reshape(16, 16)
    out = images.read(encode(Image.fromarray(ramp)))
    assert np.array_equal(out[..., 0].ravel(), np.arange(256)) and (out[..., 0] == out[..., 2]).all()
    assert np.array_equal(images.read(ramp)[..., 0].ravel(), np.arange(256))


def test_floats_of_a_tiff_are_stretched():
    values = np.linspace(-3.0, 5.0, 64, dtype=np.float32).reshape(8, 8)
    out = images.read(encode(Image.fromarray(values), "TIFF"))[..., 0].ravel()
    assert out[0] == 0 and out[-1] == 255 and (np.diff(out.astype(int)) >= 0).all()


def test_exif_rotation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    wide = Image.new("RGB", (40, 20), "white")
    wide.paste((0, 0, 0), (0, 0, 40, 8))  # a black bar on top, which belongs on the right
    out = images.read(encode(wide, "JPEG", exif=exif, quality=95))
    assert out.shape == (40, 20, 3)
    assert out[:, -4:].max() < 60 and out[:, :4].min() > 200


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    gif = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    assert tuple(images.read(gif)[0, 0]) == (255, 0, 0)


def test_one_bit_grey_and_float_arrays():
    assert images.read(np.array([[True, False]])).tolist() == [[[255] * 3, [0] * 3]]
    assert images.read(np.full((2, 2, 1), 7, np.uint8)).shape == (2, 2, 3)
    assert images.read(np.full((1, 1, 3), 0.5))[0, 0, 0] == 128


@pytest.mark.parametrize("size", [(12000, 9000), (40000, 1000)])
def test_a_very_big_picture_is_scaled_down_in_proportion(size):
    big = Image.new("L", size, 200)
    data = encode(big, "JPEG", quality=50)
    out = images.read(data)
    assert out.shape[0] * out.shape[1] <= images.MAX_PIXELS
    assert out.shape[1] / out.shape[0] == pytest.approx(size[0] / size[1], rel=0.02)
    assert out.shape[0] * out.shape[1] > 0.8 * images.MAX_PIXELS and (abs(out.astype(int) - 200) <= 2).all()


def test_a_picture_of_one_pixel():
    assert images.read(encode(Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


def bomb():
    """A few bytes that promise 400 megapixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
BAD = {
    "text": b"this is not a picture",
    "empty": b"",
    "cut JPEG": encode(NOISE, "JPEG")[:900],
    "cut PNG": encode(NOISE)[:5000],
    "cut WebP": encode(NOISE, "WEBP")[:2000],
    "damaged PNG": encode(NOISE)[:60] + b"\xff" * 500 + encode(NOISE)[560:],
    "bomb": bomb(),
    "no picture": None,
    "number": 3,
    "missing file": "/nowhere/cat.png",
    "folder": "/",
    "channels first": np.zeros((3, 9, 9), np.uint8),
    "no pixels": np.zeros((0, 9, 3), np.uint8),
    "floats beyond 1": np.full((2, 2), 200.0),
    "not a number": np.full((2, 2), np.nan),
    "int64": np.zeros((2, 2), np.int64),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_gets_one_sentence(name):
    with pytest.raises(SSegError) as caught:
        images.read(BAD[name])
    assert "\n" not in str(caught.value) and 20 < len(str(caught.value)) < 200


def test_id_png_holds_the_ids():
    labels = np.array([[-1, 0], [5, 199]])
    small = Image.open(io.BytesIO(images.id_png(labels)))
    assert small.mode == "L" and np.array_equal(np.asarray(small), labels + 1)
    labels[0, 0] = 3000
    big = Image.open(io.BytesIO(images.id_png(labels)))
    assert big.mode.startswith("I") and np.array_equal(np.asarray(big).astype(int), labels + 1)
    with pytest.raises(ValueError, match=r"\S"):
        images.id_png(np.array([[-2]]))


def test_rle_decodes_to_the_mask_and_is_plain_text():
    mask = np.random.default_rng(0).random((37, 53)) > 0.7
    run_lengths = images.rle(mask)
    assert run_lengths["size"] == [37, 53] and isinstance(run_lengths["counts"], str)
    assert np.array_equal(coco_mask.decode(run_lengths).astype(bool), mask)


def test_overlay_colours_what_was_found_and_leaves_the_rest():
    rgb = np.full((6, 8, 3), 100, np.uint8)
    labels = np.full((6, 8), -1)
    labels[:, 4:] = 1
    out = images.overlay(rgb, labels, np.array([[0, 0, 0], [200, 0, 50]]), opacity=0.5)
    assert (out[:, :3] == 100).all() and (out[:, 3] == 255).all()  # untouched; outline
    assert np.allclose(out[:, 4:], (150, 50, 75), atol=1)
    assert (rgb == 100).all()


LINEAR_RGB_TO_SEEN = {  # Machado, Oliveira, Fernandes 2009, severity 1
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lab(rgb, seen):
    c = np.asarray(rgb) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    linear = (linear @ np.asarray(LINEAR_RGB_TO_SEEN[seen]).T).clip(0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.array(to_xyz).T / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


@pytest.mark.parametrize("seen", LINEAR_RGB_TO_SEEN)
def test_the_palette_can_be_told_apart(seen):
    colors = lab(images.PALETTE, seen)
    gaps = [np.linalg.norm(colors[i] - colors[j]) for i, j in itertools.combinations(range(20), 2)]
    first = [np.linalg.norm(colors[i] - colors[j]) for i, j in itertools.combinations(range(8), 2)]
    assert min(gaps) > 14 and min(first) > 24


def test_neighbours_in_the_palette_differ_in_lightness():
    lightness = lab(images.PALETTE, "normal")[:, 0]
    assert abs(np.diff(lightness)).min() > 15


def test_there_are_colours_for_any_number():
    assert images.colors(200).shape == (200, 3) and images.colors(0).shape == (0, 3)
    assert np.array_equal(images.colors(20), images.PALETTE)
    assert len({tuple(color) for color in images.colors(60)}) == 60


def test_a_phrase_keeps_its_colour_whatever_it_is_asked_with():
    alone = images.colors_of(["zebra"])[0].tolist()
    many = images.colors_of(["sky", "grass", "zebra", "person"])
    assert many[2].tolist() == alone
    assert images.colors_of(["Sky"])[0].tolist() == many[0].tolist()


def test_no_two_phrases_of_a_question_have_one_colour():
    phrases = [f"thing {number}" for number in range(45)]
    assert len({tuple(color) for color in images.colors_of(phrases).tolist()}) == 45
    assert images.colors_of([]).shape == (0, 3)
