"""Settings and fixtures that every test shares."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # all of these are read while the libraries are imported
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Each worker has uploads of its own: tests look at what lies there.
os.environ["GRADIO_TEMP_DIR"] = str(Path(tempfile.gettempdir(), "sseg-tests" + os.getenv("PYTEST_XDIST_WORKER", "")))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait starve everything on few cores

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from sseg import SSegError

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

torch.set_num_threads(2)

# What the random weights "were trained on": (phrase, how often, kind).
TINY_VOCABULARY = [
    ("dog", 40, "thing"),
    ("cat", 30, "thing"),
    ("red car", 12, "thing"),
    ("grass", 25, "material"),
    ("sky", 21, "material"),
    ("two", 9, "word"),
]


# Files that take longest: begun first, so that no process waits for another's last file.
LONGEST = ("train/test_pretrain", "train/test_self_train", "browser/", "app/", "train/", "cli/")


def pytest_collection_modifyitems(items):
    """Leave out, with the reason, the tests that need a browser or a font which this machine has not got; the longest
    files first (`--no-loadscope-reorder`)."""
    items.sort(key=lambda item: next((place for place, one in enumerate(LONGEST) if f"tests/{one}" in item.nodeid), 99))
    lacking = {"browser": no_browser(), "font": no_font()}
    for item in items:
        for marker, reason in lacking.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def no_browser():
    return "" if CHROMIUM else "chromium is not installed (Debian: apt-get install chromium)"


def no_font():
    from train.data.stickers.glyphs import find_font

    try:
        find_font()
    except SSegError as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def chromium():
    """Path of the browser; ask for it only in tests marked `browser`."""
    return CHROMIUM


@pytest.fixture(scope="session")
def emoji_font():
    """Path of the colour emoji font; ask for it only in tests marked `font`."""
    from train.data.stickers.glyphs import find_font

    return find_font()


@pytest.fixture(scope="session")
def tiny_config():
    """The smallest model that still has every part; tests that build their own start from it."""
    from sseg.models.config import SSegConfig

    backbone = {"model_type": "resnet", "layer_type": "basic", "embedding_size": 8}
    backbone |= {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
    return SSegConfig(
        backbone=backbone,
        fpn_dim=32,
        hidden_dim=32,
        num_queries=6,
        decoder_layers=2,
        decoder_heads=2,
        decoder_ffn_dim=32,
        text_vocab_size=400,
        text_layers=1,
        text_width=32,
        text_heads=2,
        text_max_length=16,
        embed_dim=32,
        projector_dim=32,
        image_size=64,
    )


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory, tiny_config):
    """A weights folder as training writes it, of a tiny model with random (but always the same) numbers.

    Session-wide and read-only: a test that damages weights works on a copy.
    """
    from sseg.models.sseg import SSegModel
    from train.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("weights") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        SSegModel(tiny_config).save_pretrained(folder)
    phrases = [phrase for phrase, _, _ in TINY_VOCABULARY]
    captions = [f"a photo of a {one} and a {other}" for one in phrases for other in phrases]
    tokenizer = train_tokenizer(captions, tiny_config.text_vocab_size, tiny_config.text_max_length)
    tokenizer.save_pretrained(folder)
    entries = [{"text": text, "count": count, "kind": kind} for text, count, kind in TINY_VOCABULARY]
    (folder / "vocabulary.json").write_text(json.dumps({"phrases": entries}), encoding="utf-8")
    return folder


@pytest.fixture
def picture():
    """A 120 x 90 RGB picture (PIL): blue over green, a red disc and an orange box on it; the same on every call."""
    width, height = 120, 90
    image = Image.new("RGB", (width, height), (90, 150, 220))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 50, width, height), fill=(60, 140, 50))
    draw.ellipse((15, 25, 55, 65), fill=(200, 40, 40))
    draw.rectangle((70, 40, 105, 75), fill=(240, 150, 30))
    noise = np.random.default_rng(0).integers(-8, 9, (height, width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture
def run_python():
    """Run code in a fresh interpreter, outside the repository's folder unless `cwd` says otherwise; returns stdout."""

    def run(code, cwd="/", path=ROOT):
        environment = os.environ | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "2"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


# ---- the app: gradio is imported only where a test asks for it -------------------------------------------------------
@pytest.fixture(scope="module")
def loaded(tiny_weights):
    """Segmenter and live weights, as `sseg.app.weights.load` gives them, of the tiny model."""
    from sseg.app import weights

    return weights.load(str(tiny_weights))


@pytest.fixture(scope="module")
def address(loaded):
    """Address of a page that serves the tiny model."""
    from sseg.app.build import build, options

    page = build(*loaded)
    page.launch(prevent_thread_lock=True, quiet=True, **options("127.0.0.1", None))
    yield page.local_url
    page.close()


@pytest.fixture(scope="module")
def client(address):
    """A gradio_client of that page."""
    from gradio_client import Client

    client = Client(address, verbose=False)
    yield client
    client.close()


@pytest.fixture
def path(picture, tmp_path):
    """The picture as a file."""
    picture.save(tmp_path / "holiday.png")
    return tmp_path / "holiday.png"
