"""No file takes gigabytes: the peak of resident memory of a process that reads one; and pictures stay as they were."""

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from benchmarks.big_pictures import chunk, measure, png
from sseg import SSegError, images
from sseg.images import bands, decoding


def tiff(mode, size, file, **options):
    Image.new(mode, size).save(file, "TIFF", compression="tiff_adobe_deflate", **options)


def test_reading_takes_less_than_the_stated_memory(tmp_path):
    """Kinds that took a gigabyte and more; `benchmarks.big_pictures` has all, as big as they may be."""
    files = [tmp_path / name for name in ("floats.tif", "deep.png", "clear.png")]
    tiff("F", (5000, 4000), files[0])
    files[1].write_bytes(png(6000, 5000, bits=16))
    files[2].write_bytes(png(5000, 4000, color=4))
    for file, found in zip(files, measure(*files), strict=True):
        assert " x " in found["said"] and 60 < found["mb"] < 200, (file.name, found)


def scans(count):
    """A progressive JPEG whose last scan comes again and again: each is a pass over the whole picture."""
    buffer = io.BytesIO()
    Image.new("L", (640, 640)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def in_one_strip():
    buffer = io.BytesIO()
    tiff("RGB", (1000, 7000), buffer, strip_size=1 << 30)
    data = buffer.getvalue()
    narrow = struct.pack("<HHIHH", 256, 3, 1, 1000, 0)
    assert data.count(narrow) == 1
    return data.replace(narrow, struct.pack("<HHIHH", 256, 3, 1, 8000, 0))


def progressive():
    buffer = io.BytesIO()
    Image.new("RGB", (640, 100)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue().replace(struct.pack(">HH", 100, 640), struct.pack(">HH", 13_000, 13_000))


REFUSED = {  # headers are enough
    "177 megapixels of 16 bits": lambda: png_head(13_600, 13_000, 16, 0),
    "177 megapixels of RGB": lambda: png_head(13_600, 13_000, 8, 2),
    "a line without an end": lambda: png_head(150_000, 1, 8, 0),
    "a TIFF in one strip": in_one_strip,
    "a JPEG in many scans": lambda: scans(200),
    "a progressive JPEG": progressive,
    "a PGM of 12 bits": lambda: b"P5 5000 4000 4095 " + bytes(100),
}


def png_head(width, height, bits, color):
    whole = png(1, 1, bits, color)
    return whole[:8] + chunk(b"IHDR", struct.pack(">II", width, height) + whole[24:29]) + whole[33:]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_takes_too_much_gets_a_sentence_before_it_is_decoded(kind, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *args: pytest.fail("decoded"))
    with pytest.raises(SSegError) as caught:
        images.read(REFUSED[kind]())
    assert str(caught.value).startswith("The picture ") and "damaged" not in str(caught.value)


def test_a_photograph_of_200_megapixels_is_read_at_a_fraction():
    buffer = io.BytesIO()
    Image.new("L", (16_000, 11_000), 200).save(buffer, "JPEG")
    data = buffer.getvalue()
    image, size = decoding.open_image(data, images.MAX_PIXELS)
    assert image.size == (8000, 5500) and size == (16_000, 11_000)
    assert images.read(data, 2_000_000).shape == (1172, 1705, 3)


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "TGA", "PCX", "JPEG2000", "ICNS", "SGI"])
def test_formats_that_nobody_needs_are_not_opened(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, kind)
    with pytest.raises(SSegError, match="use PNG, JPEG"):
        images.read(buffer.getvalue())


def test_only_listed_formats_are_decoded():
    assert {"EPS", "WMF", "PSD", "FITS", "MPEG", "SPIDER"}.isdisjoint(decoding.FORMATS)
    for kind in decoding.FORMATS:
        buffer = io.BytesIO()
        Image.new("RGB", (32, 24), (255, 0, 0)).save(buffer, kind)
        assert abs(images.read(buffer.getvalue())[5, 5].astype(int) - (255, 0, 0)).max() < 30, kind


# ---- as they were ---------------------------------------------------------------------------------------------------
def as_a_whole(image, most):
    """What `images.read` did with all of a picture at once."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB", "RGBA", "CMYK"):
        image = shrink(image, most)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return np.array(shrink(image.convert("RGB"), most))


def shrink(image, most):
    factor = (image.width * image.height / most) ** 0.5
    if factor <= 1:
        return image
    size = (max(1, int(image.width / factor)), max(1, int(image.height / factor)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def coloured(mode, turn=1):
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 50, 4), dtype=np.uint8)).resize((350, 250))
    image = Image.fromarray((np.asarray(coarse).astype(int) + rng.integers(-9, 9, (250, 350, 4))).clip(0, 255)
                            .astype(np.uint8))  # fmt: skip
    image = image.convert("RGB").convert(mode) if mode not in ("RGBA", "LA") else image.convert(mode)
    image.getexif()[274] = turn
    return image


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "CMYK", "YCbCr", "RGBA", "LA"])
def test_ordinary_pictures_keep_exactly_the_same_pixels(mode):
    for turn in (1, 6):
        for most in (10**9, 60_000, 5_000):
            image = coloured(mode, turn)
            assert np.array_equal(images.read(image, most), as_a_whole(image, most)), (turn, most)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "CMYK", "YCbCr", "RGBA", "LA"])
def test_big_pictures_in_bands_are_the_same_but_for_roundings(mode, monkeypatch):
    monkeypatch.setattr(bands, "PIXELS", 10_000)
    for turn, most in itertools.product(range(1, 9), (10**9, 60_000, 3_000)):
        image = coloured(mode, turn)
        whole, found = as_a_whole(image, most).astype(int), bands.reduced(image, most, images._rgb)
        roundings = 3 if mode == "RGBA" else 1  # colours are divided by a small alpha
        assert found.shape == whole.shape and abs(found - whole).max() <= roundings, (turn, most)
        assert (found != whole).mean() < 0.02, (turn, most)


# ---- ranges of values -----------------------------------------------------------------------------------------------
RAMP = np.linspace(0, 1, 4096).reshape(64, 64)


def saved(values, **options):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", **options)
    return buffer.getvalue()


def assert_is_ramp(data, but=()):
    """Grey levels from black to white, apart from the pixels `but`."""
    out = images.read(data)[..., 0].ravel().astype(int)
    counted = np.setdiff1d(np.arange(4096), but)
    assert abs(out[counted] - RAMP.ravel()[counted] * 255).max() <= 1.2


@pytest.mark.parametrize("bits", range(9, 17))
def test_a_16_bit_file_is_read_by_the_bits_that_it_holds(bits):
    values = np.round(RAMP * (2**bits - 1)).astype(np.uint16)
    if bits == 15:  # nothing counts in 15 bits: taken for a dark picture of 16
        return assert_is_ramp(saved(values * 2))
    assert_is_ramp(saved(values))
    assert_is_ramp(values)
    assert_is_ramp(saved(values.astype(np.int32)))


def test_a_dark_picture_of_16_bits_stays_as_dark_as_it_was():
    out = images.read(saved(np.full((8, 8), 30_000, np.uint16)))
    assert (out == round(30_000 / 65_535 * 255)).all()


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, -3.4028234663852886e38])
def test_values_that_are_no_measurement_leave_the_others_as_they_are(odd):
    values = (RAMP * 80 - 20).astype(np.float32)
    values[3, 5] = odd
    data = saved(values)
    assert_is_ramp(data, but=[3 * 64 + 5])
    assert images.read(data)[3, 5, 0] == (255 if odd == np.inf else 0)


@pytest.mark.parametrize("hole", [-(2**31), -(2**15)])
def test_the_lowest_integer_is_a_hole_in_a_map(hole):
    values = np.round(RAMP * 3000 - 200).astype(np.int32)
    values[0, :9] = hole
    assert_is_ramp(saved(values), but=range(9))
    assert (images.read(saved(values))[0, :9] == 0).all()


def test_what_a_geotiff_calls_no_data_does_not_count():
    values = (RAMP * 80 + 7).astype(np.float32)
    values[0, :9] = -9999
    assert_is_ramp(saved(values, tiffinfo={42113: "-9999"}), but=range(9))


def test_a_picture_without_any_value_is_black():
    assert not images.read(saved(np.full((9, 9), np.nan, np.float32))).any()
