"""Where a picture comes from: a file, the clipboard, a camera or an example."""

import gradio as gr

from sseg.app.components.examples import NONE, Example, ExampleStrip
from sseg.app.guards.uploads import own_file


class PictureInput(gr.Image):
    """gr.Image that hands the file on untouched: reading it, and saying what is wrong with it, is the library's job.

    `uploads.Page` has looked at the path already; no other page can forget to.
    """

    is_template = True

    def preprocess(self, payload):
        return own_file(payload.path) if payload else None


def row(shown: list[Example], path: str | None = None) -> tuple[PictureInput, ExampleStrip]:
    """The row below a viewer, inside the current Blocks: the person's picture, `path` at first, and the examples.

    The example that is the picture is marked.
    """
    at_first = next((place for place, one in enumerate(shown) if one.path == path), NONE)

    def mark(picture):
        copies = [own_file(one.path) for one in shown]
        return gr.update(chosen=copies.index(picture) if picture in copies else NONE)

    with gr.Row(elem_classes="sseg-source"):
        picture = PictureInput(
            value=path,
            label="Your picture",
            sources=["upload", "clipboard", "webcam"],
            type="filepath",
            height=190,
            scale=2,
            min_width=220,
            buttons=[],
        )
        thumbs = ExampleStrip(shown, chosen=at_first, elem_classes="sseg-examples", scale=3, visible=bool(shown))
    picture.change(mark, picture, thumbs, queue=False, show_progress="hidden", api_visibility="private")
    return picture, thumbs
