"""What a library call says of an argument that makes no sense: one sentence, at once, and nothing else."""

import base64
import itertools
import time

import numpy as np
import pytest
from PIL import Image

import sseg
import sseg.images
from sseg import PseudoMasker, SSegError
from sseg.comparison import compare
from sseg.metrics import StreamingIoU

LONG = "a/" * 200 + "x" * 300
HUGE = np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (100_000, 100_000, 3), (0, 0, 1))  # a view of 28 GiB


FOUND = {  # by `make fuzz`: small files, in base 85
    "no strip offsets":
        "Nl7XI6aWAKc${Nk7|{R#0RI312><{A0{{U400930000320{{U400031000630{{U4000O8000940{{U4000O8000I70{{U400031"
        "000321ONd5000O8000&N0{{U400031000*O1ONd5000aC000~T0{{U40003100000000",
    "LZW cut off":
        "Nl7XIG5`PofB--cI20BJ0D(av5V$-Z6AOpIpwQT)GAkE_MB)Je001`_i$h`X5C91P009F40RR910RR910RaO50RR91KmY&$0s#X6"
        "0RR915C8xG0|5g70RR911poj51_1*A0RR910RR915dj1M0RR912mk;876AhQ0RR91KmY&$7XbtS0RR91DF6Tf903CW0RR910RR91"
        "00000",
}  # fmt: skip


class Odd:
    """A class of somebody's own whose every answer is an error."""

    def __str__(self):
        raise ZeroDivisionError

    def __int__(self):
        raise ZeroDivisionError


@pytest.fixture(scope="module")
def seg(tiny_weights):
    return sseg.load(tiny_weights, device="cpu")


@pytest.fixture(scope="module")
def masker():
    return PseudoMasker("pixels", device="cpu")


def sentence_of(call):
    """The one sentence that a call ends with, within seconds of a processor."""
    start = time.process_time()
    with pytest.raises(SSegError) as caught:
        call()
    assert time.process_time() - start < 10
    said = str(caught.value)
    assert said.isprintable() and 10 < len(said) < 500 and said.endswith(".")
    return said


@pytest.mark.parametrize("name", [
    5, b"mini", ["mini"], "", "~nobody/weights", LONG, "x" * 300, "mini\n\x1b[31m", "\x00", "a\udcff", "no-such", Odd(),
], ids=lambda name: repr(name)[:20] if not isinstance(name, Odd) else "odd")  # fmt: skip
def test_names_of_weights(name):
    sentence_of(lambda: sseg.load(name))


@pytest.mark.parametrize("how", [
    {"combine": "x"}, {"combine": np.zeros(3)}, {"prompt": "a photo"}, {"prompt": 5}, {"device": 5}, {"device": None},
    {"device": np.zeros(3)}, {"device": "cuda:99"}, {"device": "\n"},
])  # fmt: skip
def test_how_weights_are_loaded(tiny_weights, how):
    sentence_of(lambda: sseg.load(tiny_weights, **how))


WRONG_VALUES = {
    "combine": lambda seg, masker: sseg.load("mini", combine="x"),
    "prompt": lambda seg, masker: sseg.load("mini", prompt="a photo"),
    "prompt of no weights": lambda seg, masker: sseg.load("no-such", prompt="a photo"),
    "weights": lambda seg, masker: sseg.load("no-such"),
    "device": lambda seg, masker: sseg.load("mini", device=5),
    "phrases": lambda seg, masker: seg(np.zeros((8, 8, 3), np.uint8), " , "),
    "background": lambda seg, masker: seg(np.zeros((8, 8, 3), np.uint8), "dog", 7),
    "no picture": lambda seg, masker: seg.encode(None),
    "features": lambda seg, masker: PseudoMasker("pixels", "keys"),
    "k": lambda seg, masker: masker(np.zeros((8, 8, 3), np.uint8), k=0),
    "method": lambda seg, masker: masker(np.zeros((8, 8, 3), np.uint8), method="x"),
}


@pytest.mark.parametrize("what", WRONG_VALUES)
def test_a_wrong_value_is_a_value_error_too(seg, masker, what):
    with pytest.raises(ValueError, match=r"\S"):
        WRONG_VALUES[what](seg, masker)
    sentence_of(lambda: WRONG_VALUES[what](seg, masker))


def test_what_files_are_like_is_no_value_error(seg, tmp_path):
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    for call in (lambda: sseg.load(tmp_path), lambda: seg.encode(tmp_path / "damaged.png")):
        with pytest.raises(SSegError) as caught:
            call()
        assert not isinstance(caught.value, ValueError)


PICTURES = {
    "none": None, "number": 5, "list": [[1]], "odd": Odd(), "nowhere": "/nowhere.png", "nobody": "~nobody/a.png",
    "long": LONG, "long name": "x" * 300 + ".png", "control": "a\n\x1b[31mb.png", "nul": "\x00", "folder": "/",
    "no rows": Image.new("RGB", (0, 5)), "no columns": Image.new("L", (5, 0)), "bytes": b"", "huge": HUGE,
    "huge floats": np.lib.stride_tricks.as_strided(np.zeros(3), (10**5, 10**5, 3), (0, 0, 8)),
    "empty": np.zeros((0, 5, 3), np.uint8), "objects": np.array([[Odd()]]), "nan": np.full((4, 4), np.nan),
    "complex": np.zeros((4, 4), complex), "four": np.zeros((2, 2, 2, 2), np.uint8),
}  # fmt: skip


@pytest.mark.parametrize("picture", PICTURES)
def test_pictures(seg, masker, picture):
    for call in (seg.encode, masker.encode):
        sentence_of(lambda call=call: call(PICTURES[picture]))


def test_questions(seg, masker, picture):
    encoded = seg.encode(picture)
    found = seg.ask(encoded, "dog, sky")
    for phrases in (None, 5, b"dog", {1: 2}, itertools.repeat("x"), itertools.repeat(""), [None], [b"x"], Odd()):
        sentence_of(lambda phrases=phrases: seg.ask(encoded, phrases))
    for background in ("0.5", -1, 2, float("nan"), [0.5], 1j, Odd()):
        sentence_of(lambda background=background: seg.ask(encoded, "dog", background))
    for what in (None, picture, "photo.png", masker.encode(picture), found):
        sentence_of(lambda what=what: seg.ask(what, "dog"))
    for side in (0, -5, 10**9, "64", 64.5, Odd()):
        sentence_of(lambda side=side: seg.encode(picture, long_side=side))
    for x, y, n in ((0, 0, -1), (0, 0, 0), (120, 0, 5), (0, -1, 5), ("a", 0, 5), (0.5, 0, 5), (0, 0, "5")):
        sentence_of(lambda at=(x, y, n): found.explain(*at))
    for index in (9, -1, None, "dog", 0.5):
        sentence_of(lambda index=index: found.score_map(index))
    for opacity in (-1, 2, None, "1", float("nan")):
        sentence_of(lambda opacity=opacity: found.overlay(picture, opacity))
    for size in (5, "ab", [1], (0, 5), (1.5, 2), (10**9, 10**9), (10**5, 10**5)):
        sentence_of(lambda size=size: found.id_png(size))
    sentence_of(lambda: found.overlay(picture.resize((9, 9))))
    sentence_of(lambda: seg.regions(encoded, -1))
    sentence_of(lambda: seg.nearest(5))
    sentence_of(lambda: seg.known(None))


@pytest.mark.parametrize("count", [0, -1, 2.5, "5", None, [1], {}, np.zeros(3), float("nan"), 10**400])
def test_metrics(count):
    sentence_of(lambda: StreamingIoU(count))


def test_comparisons(seg, picture):
    found = seg(picture, "dog, sky")
    for other in (None, "photo.png", picture, seg(picture.resize((30, 40)), "dog")):
        sentence_of(lambda other=other: compare(found, other))
    for truth in (5, "", LONG, "~nobody", b"", np.zeros((3, 3), np.uint8), [[1, 2], [3]], np.zeros((90, 120))):
        sentence_of(lambda truth=truth: compare(found, found, truth))


def test_pseudo_masks(masker, picture):
    for arguments in ((5,), (None,), (["dino"],), ("a\n",), ("x" * 300,), ("pixels", 5), ("pixels", "keys\n")):
        sentence_of(lambda arguments=arguments: PseudoMasker(*arguments))
    found = masker.encode(picture, 64)
    for k in (0, -1, 10**9, "8", 2.5, None, float("nan"), Odd()):
        sentence_of(lambda k=k: masker.cluster(found, k))
    for how in ({"seed": -1}, {"seed": "1"}, {"method": 5}, {"method": ["kmeans"]}, {"outlines": ["cells"]}):
        sentence_of(lambda how=how: masker.cluster(found, 4, **how))
    for what in (None, picture, "photo.png"):
        sentence_of(lambda what=what: masker.cluster(what))
    for resolution in (0, 10**9, "448", None):
        sentence_of(lambda resolution=resolution: masker.encode(picture, resolution))
    for ks in (itertools.count(1), 5, ["a"], [0], None):
        sentence_of(lambda ks=ks: found.elbow(ks))
        sentence_of(lambda ks=ks: found.best_k(ks))
    masks = masker.cluster(found, 4)
    sentence_of(lambda: found.similarity(-1, 0))
    sentence_of(lambda: masks.agreement(None))
    sentence_of(lambda: masks.overlay(picture, -1))
    for truth in (None, 5, np.zeros((3, 3), np.uint8), [[1, 2], [3]], "/nowhere.png", np.full((90, 120), -1)):
        sentence_of(lambda truth=truth: masks.against(truth))
    sentence_of(lambda: masks.against(np.zeros((90, 120), np.uint8), class_names=5))


@pytest.mark.parametrize("place", ["no strip offsets", "LZW cut off"])
def test_what_libtiff_cannot_read_is_one_sentence_and_prints_nothing(place, capfd):
    sentence_of(lambda: sseg.images.read(base64.b85decode(FOUND[place])))
    assert capfd.readouterr() == ("", "")


def test_reading_a_damaged_picture_prints_nothing(run_python):
    """Found by `make fuzz`: TIFF files that end in their directory, or with EXIF data cut off."""
    code = """
import io, os
import numpy as np
from PIL import Image
from sseg import SSegError, images
buffer, exif = io.BytesIO(), Image.Exif()
exif[0x0112] = 6
Image.fromarray(np.zeros((7, 3, 3), np.uint8)).save(buffer, "TIFF", compression="tiff_lzw", exif=exif.tobytes())
data = buffer.getvalue()
os.dup2(1, 2)  # what C prints, too
for end in (len(data), *range(len(data) - 1, 8, -7)):
    try:
        images.read(data[:end])
    except SSegError:
        pass
"""
    assert run_python(code) == ""


def test_what_errors_quote_is_printable(capfd):
    said = sentence_of(lambda: sseg.load("no\nsuch\x1b[31m\u2028\u202eweights"))
    assert "no\ufffdsuch\ufffd[31m\ufffd\ufffdweights" in said
    said = sentence_of(lambda: sseg.load("x" * 5000))
    assert len(said) < 400
    assert capfd.readouterr() == ("", "")
