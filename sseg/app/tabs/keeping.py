"""What survives a reload: image, words and weights, which the visitor's own browser remembers; and links to examples.

The server keeps nothing longer for it: an image whose file has been cleared away since is not brought back.
"""

import math
from pathlib import Path

import gradio as gr

from sseg.app.components import examples
from sseg.app.guards.uploads import own_file
from sseg.errors import SSegError


def state() -> gr.BrowserState:
    """{"image", "words", "weights"}, or {}."""
    return gr.BrowserState({}, storage_key="sseg-kept", secret="sseg")  # no secret: alike after the server's restart


def keep(image, words, weights) -> dict:
    """What is written into `state` after each answer."""
    return {"image": image, "words": words, "weights": weights} if image else {}


def wanted(kept, request: gr.Request, service) -> tuple | None:
    """(path, words, weights, background) that a page begins with instead of its first example; None: with that.

    An address may name an example: ?example=cat&words=cat,sky&background=0.4.
    """
    asked = request.query_params
    shown = {Path(one.path).stem: one for one in examples.load()}
    if asked.get("example") in shown:
        one = shown[asked["example"]]
        weights = examples.weights_for(one, service)
        return own_file(one.path), asked.get("words") or one.words, weights, _share(asked.get("background"))
    if not isinstance(kept, dict) or not all(isinstance(kept.get(name), str) for name in ("image", "words", "weights")):
        return None
    try:
        path = own_file(kept["image"])
    except SSegError:
        return None
    return path, kept["words"], kept["weights"] if kept["weights"] in service.names else service.live, None


def _share(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None
