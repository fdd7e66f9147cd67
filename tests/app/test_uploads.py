"""Which files a visitor may name: raw requests to a started page, as somebody who reads no documentation sends them."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import gradio as gr
import httpx
import pytest
from gradio.utils import get_upload_folder
from gradio_client import handle_file
from PIL import Image

from sseg.app.build import build
from sseg.app.components import examples
from tests.helpers.raw import META, ask, upload

REFUSED = "This file was not given to this page, or it has been cleared away since: choose it again."
DIVISION = ["pixels", 2, "", 224, 0, "kmeans"]


@pytest.fixture
def cache():
    """The upload cache, with a folder for what a test puts there; emptied afterwards."""
    folder = Path(get_upload_folder()) / "of-a-test"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    for one in folder.iterdir():
        one.rmdir() if one.is_dir() and not one.is_symlink() else one.unlink()
    folder.rmdir()


@pytest.fixture
def private(picture, tmp_path):
    picture.save(tmp_path / "private.png")
    return tmp_path / "private.png"


def segment(address, value, **kw):
    return ask(address, "segment", [value, "dog", 0.15, None], **kw)


def assert_refused(answer):
    name, said = answer
    assert name == "error" and said["error"] == REFUSED, answer


PLACES = {
    "segment": lambda file, own: [file, "dog", 0.15, None],
    "pseudo_masks": lambda file, own: [file, *DIVISION, "cells"],
    "compare": lambda file, own: [file, *own.names, "dog", "sky", 0, None],
    "compare: truth": lambda file, own: [own.file, *own.names, "dog", "sky", 0, file],
    "pseudo_masks_truth": lambda file, own: [file, own.file, *DIVISION, ""],
    "pseudo_masks_truth: truth": lambda file, own: [own.file, file, *DIVISION, ""],
}


class Own:
    """What a visitor may use: a picture that was uploaded, and weights of the page."""

    def __init__(self, address, loaded, file):
        self.file, self.names = {"path": upload(address, file), "meta": META}, [loaded[1].name] * 2


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("meta", [{}, {"meta": META}], ids=["without meta", "with meta"])
def test_a_private_picture_stays_private_everywhere_a_file_can_be_named(address, loaded, private, path, place, meta):
    own = Own(address, loaded, path)
    for file in (private, private.with_name("missing.png")):
        value = {"path": str(file), **meta}
        assert_refused(ask(address, place.split(":")[0], PLACES[place](value, own)))


def make(kind, cache, private):
    """The value that a visitor sends."""
    place = cache / kind.replace(" ", "-")
    if kind == "link to a file":
        place.symlink_to(private)
    elif kind == "link to a folder":
        place.symlink_to(private.parent)
        place = place / private.name
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    up = "../" * len(cache.parts)
    return {
        "relative": os.path.relpath(private), "up": f"{cache}/{up}{str(private)[1:]}", "link to a file": str(place),
        "up and down": f"{cache}/no-such-folder/{up}{str(private)[1:]}", "two slashes": f"/{private}",
        "link to a folder": str(place), "pipe": str(place), "folder": str(place), "cache": str(cache.parent),
        "missing in the cache": str(place), "file address": private.as_uri(), "null": "/dev/null",
        "terminal": "/dev/ptmx", "long name": f"{cache}/{'a' * 300}.png", "long path": f"{cache}/{'a/' * 5000}b.png",
        "nul": f"{private}\0", "nul in the cache": f"{cache}/\0.png", "half a character": f"{cache}/\ud800",
        "empty": "", "home": "~/private.png", "memory": "/proc/self/mem", "environment": "/proc/self/environ",
        "through proc": f"/proc/self/root{private}", "neighbour": f"{cache.parent}-else/private.png",
    }[kind]  # fmt: skip


KINDS = ["relative", "up", "up and down", "two slashes", "link to a file", "link to a folder", "pipe", "folder",
         "cache", "missing in the cache", "file address", "null", "terminal", "long name", "long path", "nul",
         "nul in the cache", "empty", "half a character", "home", "memory", "environment", "through proc",
         "neighbour"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_way_to_name_a_file_gets_the_same_sentence(address, cache, private, kind):
    value = make(kind, cache, private)
    try:
        for meta in ({}, {"meta": META}):
            assert_refused(segment(address, {"path": value, **meta}, seconds=20))
    finally:
        if kind == "pipe":
            os.close(os.open(value, os.O_RDWR | os.O_NONBLOCK))  # lets go whoever waits for it


@pytest.mark.parametrize("value", [
    {"url": "x.png"}, {"url": "data:image/png;base64,AAAA"}, {"path": None, "url": "x.png"}, {"path": 5},
    {"path": ["x"]}, {"path": {"path": "x"}}, {}, {"meta": META}, True,
    {"path": "/etc/passwd", "is_stream": True, "meta": META},
    {"path": "/etc/passwd", "url": "/etc/passwd", "orig_name": 5, "size": "x", "meta": META}, "/etc/passwd", 5,
    ["/etc/passwd"], [{"path": "/etc/passwd", "meta": META}],
])  # fmt: skip
def test_values_of_another_form_get_the_same_sentence(address, value):
    assert_refused(segment(address, value))
    assert_refused(ask(address, "pseudo_masks_truth", [None, value, *DIVISION, ""]))


def test_the_model_goes_on_after_files_without_an_end(address, client, path):
    for device in ("/dev/ptmx", "/dev/zero", "/dev/tty"):
        assert_refused(segment(address, {"path": device}, seconds=20))
    assert segment(address, {"path": upload(address, path), "meta": META}, seconds=20)[0] == "complete"


def test_the_server_fetches_nothing_for_a_visitor(address, picture, tmp_path):
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        log_message = do_HEAD = do_GET

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    there = f"http://127.0.0.1:{server.server_port}/photo.png"
    for value in ({"path": there}, {"path": there, "meta": META}, {"path": "", "url": there, "meta": META},
                  {"url": there}, {"url": there, "meta": META}):  # fmt: skip
        assert_refused(segment(address, value))
    server.shutdown()
    server.server_close()
    assert asked == []


def test_a_refused_file_leaves_nothing_in_the_cache(address, private):
    def everything():
        return {str(file) for file in Path(get_upload_folder()).rglob("*")}

    before = everything()
    for meta in ({}, {"meta": META}):
        assert_refused(segment(address, {"path": str(private), **meta}))
    assert everything() == before


def test_uploads_and_examples_are_read(address, client, path, tmp_path):
    own = upload(address, path)
    for value in ({"path": own}, {"path": own, "meta": META}, {"path": own, "orig_name": "mine.png", "meta": META}):
        assert segment(address, value)[0] == "complete"
    assert client.predict(handle_file(path), "dog", 0.15, api_name="/segment")
    first = examples.load()[0].path
    for value in ({"path": first}, {"path": first, "meta": META}):
        assert segment(address, value)[0] == "complete"
    pictures = [one["props"].get("value") for one in httpx.get(f"{address}config").json()["components"]
                if one["type"] == "image"]  # fmt: skip
    assert segment(address, next(filter(None, pictures)))[0] == "complete"  # as the page shows it at first
    assert segment(address, None)[1]["error"].startswith("There is no picture yet")


def test_an_upload_that_was_cleared_away_gets_the_sentence(address, picture, tmp_path):
    Image.new("RGB", (30, 20), "#123456").save(tmp_path / "brief.png")
    own = upload(address, tmp_path / "brief.png")
    Path(own).unlink()
    assert_refused(segment(address, {"path": own, "meta": META}))


def test_private_events_are_no_way_round(address, private):
    """Every event that takes a file, by its number, as the page itself asks."""
    config = httpx.get(f"{address}config").json()
    types = {one["id"]: one["type"] for one in config["components"]}
    tried = 0
    for event in config["dependencies"]:
        files = [types[one] in ("image", "file") for one in event["inputs"]]
        if any(files) and event["backend_fn"]:
            data = [{"path": str(private)} if file else None for file in files]
            assert_refused(by_number(address, event["id"], data))
            tried += 1
    assert tried > 12


def by_number(address, fn_index, data):
    asked = {"data": data, "fn_index": fn_index, "session_hash": f"test{fn_index}", "event_data": {"index": 0}}
    httpx.post(f"{address}gradio_api/queue/join", json=asked).raise_for_status()
    answer = httpx.get(f"{address}gradio_api/queue/data", params={"session_hash": asked["session_hash"]}, timeout=30)
    said = [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line.startswith("data: ")]
    done = next(one for one in said if one["msg"] == "process_completed")
    return ("complete" if done["success"] else "error"), done["output"]


def test_no_component_reads_files_by_a_rule_of_its_own(loaded):
    """A new input that takes files has to go through the check too."""
    readers = {type(block).__name__ for fn in build(*loaded).fns.values() for block in fn.inputs
               if getattr(block, "data_model", None) and not isinstance(block, gr.HTML)}  # fmt: skip
    assert readers == {"ImageInput", "ImageButton", "File"}
