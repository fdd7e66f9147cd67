"""Files of answers: whoever fetches one gets all of it, whatever else is written meanwhile."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sseg.app.components.panels import Panel
from sseg.app.components.viewer import Saved
from sseg.app.tabs.pseudo_masks import HeatMap

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8))


def _panel(folder):
    panel = Panel()
    panel.GRADIO_CACHE = folder
    return panel._figure({"image": IMAGE, "caption": ""}).image.path


def _heat(folder):
    heat = HeatMap(format="png")
    heat.GRADIO_CACHE = folder
    return heat.postprocess(IMAGE).path


WRITERS = {"viewer": lambda folder: Saved(IMAGE).path(folder, "png"), "panel": _panel, "heat": _heat}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_file_is_whole_while_the_same_answer_is_written_again(writer, tmp_path):
    path = Path(writer(str(tmp_path)))
    size, stop, short = path.stat().st_size, threading.Event(), []

    def read():
        while not stop.is_set():
            if (found := os.stat(path).st_size) != size:
                short.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(6):
            assert writer(str(tmp_path)) == str(path)
    finally:
        stop.set()
        reader.join()
    assert not short and [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_file_that_was_cleared_away_is_written_anew(tmp_path):
    saved = Saved(IMAGE)
    first = saved.path(str(tmp_path), "png")
    os.remove(first)
    os.rmdir(os.path.dirname(first))
    assert saved.path(str(tmp_path), "png") == first and Image.open(first).size == IMAGE.size
