"""Where an image comes from: a file, the clipboard, a drop anywhere on the page, a phone's camera, or an example."""

from types import SimpleNamespace

import gradio as gr

from sseg.app.components.examples import NONE, Example, ExampleStrip
from sseg.app.guards.uploads import own_file


class ImageInput(gr.Image):
    """gr.Image that hands the file on untouched: reading it, and saying what is wrong with it, is the library's job.

    `uploads.Page` has looked at the path already; no other page can forget to. It is never seen: the viewer shows the
    image.
    """

    is_template = True

    def preprocess(self, payload):
        return own_file(payload.path) if payload else None


class ImageButton(gr.UploadButton):
    """Opens the file dialog, or a phone's camera; `static/dropping.js` gives it what is dropped or pasted."""

    is_template = True

    def preprocess(self, payload):
        return own_file(payload.path) if payload else None


def bar(shown: list[Example], path: str | None = None) -> SimpleNamespace:
    """The bar above a viewer, inside the current Blocks: `button`, `examples`, and `image`, which is `path` at first.

    The example that is the image is marked.
    """
    at_first = next((place for place, one in enumerate(shown) if one.path == path), NONE)

    def mark(image):
        copies = [own_file(one.path) for one in shown]
        return gr.update(chosen=copies.index(image) if image in copies else NONE)

    image = ImageInput(path, label="image", type="filepath", visible=False)
    with gr.Row(elem_classes="sseg-source"):
        button = ImageButton("Choose an image", file_types=["image"], size="md", elem_classes="sseg-choose", scale=0)
        thumbs = ExampleStrip(shown, chosen=at_first, elem_classes="sseg-examples", visible=bool(shown))
    image.change(mark, image, thumbs, queue=False, show_progress="hidden", api_visibility="private")
    return SimpleNamespace(image=image, button=button, examples=thumbs)
