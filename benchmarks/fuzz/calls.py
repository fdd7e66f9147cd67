"""One input: what is called with it, and by which grammar it grows. Every kind is a function of a seeded generator."""

import http.client
import json
import os
import random
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import sseg
from benchmarks.fuzz import folders, pictures, words
from sseg import PseudoMasker, images, phrases
from sseg.comparison import compare
from sseg.metrics import StreamingIoU

ODD = [
    None,
    -1,
    0,
    1,
    2,
    5,
    10**9,
    2.5,
    0.5,
    -0.5,
    float("nan"),
    float("inf"),
    "",
    "1",
    "0.5",
    "x",
    "a\nb",
    b"",
    [],
    [1],
    {},
    True,
    1j,
    object(),
    np.float32(0.5),
    np.int8(3),
    np.zeros(3),
    10**400,
]
METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE"]
PLACES = [
    "/",
    "/config",
    "/gradio_api/info",
    "/gradio_api/call/segment",
    "/gradio_api/call/ask",
    "/gradio_api/upload",
    "/gradio_api/call/explain_pixel",
    "/gradio_api/call/pseudo_masks",
    "/gradio_api/call/explain_patch",
    "/gradio_api/call/compare",
    "/gradio_api/queue/join",
    "/gradio_api/run/segment",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=../../etc/passwd",
    "/gradio_api/queue/data?session_hash=x",
    "/gradio_api/component_server",
    "/gradio_api/heartbeat/x",
    "/gradio_api/reset",
    "/gradio_api/call/segment/x",
    "/proxy=http://a/",
    "/static/x",
    "/assets/../../x",
    "/monitoring",
    "/login_check",
    "/theme.css",
    "/%00",
    "/gradio_api/call/%2e%2e",
]


def odd(rng: random.Random):
    """A value of some type that may not be the right one."""
    return rng.choice(ODD)


class World:
    """What inputs are tried on; made once in a process. `folder` is for the files that grow."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.segmenter = sseg.load("mini", device="cpu")
        self.student = sseg.load("mini-plus", device="cpu")
        self.masker = PseudoMasker("pixels", device="cpu")
        noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
        self.picture = Image.fromarray(noise)
        self.encoded = self.segmenter.encode(self.picture, long_side=64)
        self.found = self.segmenter.ask(self.encoded, "dog, grass, sky")
        self.features = self.masker.encode(self.picture, 64)
        self.masks = self.masker.cluster(self.features, 4)

    # ---- kinds: each tries one input and returns what it was ------------------------------------------------------
    def images(self, rng):
        """Reading a picture, and now and then all that follows."""
        source, said = pictures.grow(rng, self.folder)
        forget_stderr()  # what Pillow said while it wrote the file
        rgb = images.read(source, rng.choice([None, None, 1000, 10**9]))
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size, rgb.shape
        if rng.random() < 0.05:
            found = self.segmenter(rgb, "dog, sky")
            assert found.labels.shape == rgb.shape[:2] and np.isfinite(found.confidence).all()
            assert self.masker(rgb, 2, resolution=64).labels.shape == rgb.shape[:2]
        return said

    def phrases(self, rng):
        """Reading phrases, reading them again, replacing one, asking for them."""
        typed = words.grow(rng)
        classes = phrases.parse(typed)
        assert phrases.parse([one.text for one in classes]) == classes
        if isinstance(typed, str):
            old = rng.choice(classes)
            again = phrases.parse(phrases.replace(typed, old.text, "zebra"))
            expected = [phrases.PhraseClass("zebra", ("zebra",)) if one == old else one for one in classes]
            assert again == expected or "zebra" in typed
        if rng.random() < 0.1:
            found = self.segmenter.ask(self.encoded, [one.text for one in classes])
            assert len(found.phrases) == len(classes) and torch.isfinite(found.coarse_scores).all()
            self.segmenter.nearest(rng.choice(classes).text)
        return type(typed).__name__

    def weights(self, rng):
        """Loading weights, and a question if they load."""
        name, said = folders.grow(rng, self.folder / "weights")
        try:
            loaded = sseg.load(name, device="cpu")
        except Exception as error:
            error.add_note(said)
            raise
        found = loaded.ask(loaded.encode(self.picture), loaded.categories or "dog, sky")
        assert torch.isfinite(found.coarse_scores).all(), said
        json.dumps(loaded.info())
        return said

    def arguments(self, rng):
        """A public call with values of any type."""
        a, b, c = odd(rng), odd(rng), odd(rng)
        name, call = rng.choice(list(self._calls(a, b, c).items()))
        try:
            call()
        except Exception as error:
            error.add_note(f"{name} with {a!r}, {b!r}, {c!r}")
            raise
        return name

    def _calls(self, a, b, c):
        return {
            "load": lambda: sseg.load(a, device=b) if not isinstance(a, type(None)) else sseg.load("mini", device=b),
            "load how": lambda: sseg.load("mini", combine=a, prompt=b),
            "known": lambda: self.segmenter.known(a),
            "encode": lambda: self.segmenter.encode(a, sliding=b, long_side=c),
            "side": lambda: self.segmenter.encode(self.picture, long_side=a),
            "ask": lambda: self.segmenter.ask(a, b, c),
            "asked": lambda: self.segmenter.ask(self.encoded, a, b),
            "phrases": lambda: self.segmenter(self.picture, "dog", a),
            "nearest": lambda: self.segmenter.nearest(a, b),
            "regions": lambda: self.segmenter.regions(self.encoded, a),
            "explain": lambda: self.found.explain(a, b, c),
            "name": lambda: self.segmenter.regions(self.encoded, a),
            "score": lambda: self.found.score_map(a),
            "overlay": lambda: self.found.overlay(a, b),
            "opacity": lambda: self.found.overlay(self.picture, a),
            "id_png": lambda: self.found.id_png(a),
            "student": lambda: self.student.ask(a, b, c),
            "student encode": lambda: self.student.encode(a, long_side=b),
            "compare": lambda: compare(a, b, c),
            "truth": lambda: compare(self.found, self.found, a, b),
            "masker": lambda: PseudoMasker(a, b, c),
            "facet": lambda: PseudoMasker("pixels", a, b),
            "features": lambda: self.masker.encode(a, b),
            "resolution": lambda: self.masker.encode(self.picture, a),
            "cluster": lambda: self.masker.cluster(a, b, c),
            "k": lambda: self.masker.cluster(self.features, a, b),
            "how": lambda: self.masker(self.picture, 2, 0, 64, a, b),
            "elbow": lambda: self.features.elbow(a, b),
            "best": lambda: self.features.best_k(a, b),
            "similar": lambda: self.features.similarity(a, b),
            "against": lambda: self.masks.against(a, b, c),
            "agreement": lambda: self.masks.agreement(a),
            "masks overlay": lambda: self.masks.overlay(self.picture, a),
            "masks png": lambda: self.masks.id_png(a),
            "metric": lambda: StreamingIoU(a),
        }

    def http(self, rng):
        """A request to a running page: its answer has no traceback, and the page goes on."""
        host, port = page()
        connection = http.client.HTTPConnection(host, port, timeout=25)
        method, place = rng.choice(METHODS), rng.choice(PLACES)
        body, headers = body_of(rng, self.folder)
        try:
            connection.request(method, place, body, headers)
            answer = connection.getresponse()
            text = (
                b""
                if "queue/data" in place or "heartbeat" in place or "call/segment/x" in place
                else answer.read(10**7)
            )
        except (http.client.HTTPException, ConnectionError, ValueError) as error:
            return f"no answer ({type(error).__name__})"
        finally:
            connection.close()
        assert b"Traceback" not in text and b"root:" not in text, (method, place, body, text[:500])
        told = answer.status == 500 and text[:10] == b'{"error":"'  # how Gradio hands a sentence on
        assert answer.status < 500 or told, (answer.status, method, place, body, text[:300])
        if rng.random() < 0.02:
            connection = http.client.HTTPConnection(host, port, timeout=25)
            connection.request("GET", "/config")
            assert connection.getresponse().status == 200
            connection.close()
        return f"{method} {answer.status}"


def body_of(rng: random.Random, folder: Path):
    """Body and headers of a request: JSON by the page's shape with odd values, bytes, or nothing."""
    what, headers = rng.random(), {}
    if what < 0.2:
        return None, headers
    if what < 0.3:
        return rng.randbytes(rng.choice([1, 100, 10_000])), {
            "Content-Type": rng.choice(["", "application/json", "x/y"])
        }
    if what < 0.4:
        data = pictures.damaged(rng, pictures.file_of(rng))
        body = (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + data + b"\r\n--x--\r\n"
        )
        return body, {"Content-Type": "multipart/form-data; boundary=x"}
    values = [
        None,
        "",
        "dog",
        0,
        -1,
        1e400,
        [],
        {},
        {"path": "/etc/passwd"},
        {"path": "a", "meta": {"_type": "gradio.FileData"}},
        {"url": "http://127.0.0.1/"},
        "mini",
        True,
        words.text_of(rng),
        "x" * 10_000,
    ]
    shape = rng.choice(
        [
            {"data": [rng.choice(values) for _ in range(rng.randint(0, 8))]},
            {"data": rng.choice(values)},
            {},
            {"data": [], "fn_index": rng.choice([0, 1, 5, 10**6, -1, "x"]), "session_hash": "x"},
        ]
    )
    return json.dumps(shape).encode("utf-8", "replace"), {"Content-Type": "application/json"}


def forget_stderr() -> None:
    """Empty the file that stderr is in the process of inputs."""
    if os.path.isfile("/proc/self/fd/2"):
        os.ftruncate(2, 0)


@cache
def page() -> tuple[str, int]:
    """Host and port of a page that this process serves, with the weights mini."""
    from sseg.app import weights
    from sseg.app.build import build, options

    made = build(*weights.load("mini"))
    made.launch(prevent_thread_lock=True, quiet=True, **options("127.0.0.1", None))
    host, port = made.local_url.split("//")[1].strip("/").split(":")
    return host, int(port)


KINDS = {"images": 0.35, "phrases": 0.3, "arguments": 0.15, "weights": 0.05, "http": 0.15}  # shares of the inputs
