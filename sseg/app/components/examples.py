"""Pictures to begin with, each with phrases that suit it: photographs first, then rendered scenes."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import gradio as gr
from gradio.data_classes import FileData, GradioModel

from sseg import checkpoint
from sseg.paths import ASSETS

FOLDER = ASSETS / "examples"
NONE = -1  # place of an example: none
_STRIP = '<p id="sseg-examples-name">Examples</p><ul aria-labelledby="sseg-examples-name"></ul>'
_STRIP_JS = """
const ul = element.querySelector('ul');
const mark = () => ul.querySelectorAll('button').forEach((button, index) =>
  button.setAttribute('aria-pressed', String(index === props.chosen)));
const fill = () => {
  ul.replaceChildren(...(props.value ? props.value.examples : []).map((one, index) => {
    const [li, button, img] = ['li', 'button', 'img'].map(tag => document.createElement(tag));
    button.type = 'button';
    img.alt = one.words;
    button.title = one.credit ? `${one.words} (picture: ${one.credit})` : one.words;
    img.src = one.image.url;
    button.onclick = () => trigger('choose', {index});
    button.append(img);
    li.append(button);
    return li;
  }));
  mark();
};
watch('value', fill);
watch('chosen', mark);
fill();
"""


@dataclass(frozen=True)
class Example:
    path: str
    words: str
    credit: str = ""  # author and licence
    weights: str = ""  # bundled ones that suit it; "": those that the page begins with


def load() -> list[Example]:
    """What assets/examples/examples.json lists and is there: pictures of that folder, and of installed packages."""
    listing = FOLDER / "examples.json"
    entries = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else []
    found = [(_folder(one.get("package")) / one["file"], one) for one in entries]
    return [Example(str(path), one["words"], one.get("credit", ""), one.get("weights", ""))
            for path, one in found if path.is_file()]  # fmt: skip


def _folder(package: str | None) -> Path:
    """Where a package lies, without importing it; None: where our own examples lie."""
    if package is None:
        return FOLDER
    spec = find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec else Path("no-such-package")


def weights_for(example: Example, service) -> str:
    """The weights that suit an example; a page with weights of its own shows what those can."""
    bundled = checkpoint.bundled()
    return example.weights if service.live in bundled and example.weights in bundled else service.live


class _StripExample(GradioModel):
    image: FileData
    words: str
    credit: str


class _StripData(GradioModel):
    examples: list[_StripExample]


class ExampleStrip(gr.HTML):
    """Thumbnails to click, each named by its words; event `choose` with the `index` of the example.

    Property besides the value: `chosen`, the place of the example that is shown, or `NONE`.
    """

    data_model = _StripData

    def __init__(self, value=None, *, chosen=NONE, **kw):
        self.chosen = chosen
        super().__init__(
            value, html_template=_STRIP, js_on_load=_STRIP_JS, apply_default_css=False, chosen=chosen, **kw
        )

    def postprocess(self, value):
        shown = [_StripExample(image=FileData(path=one.path), words=one.words, credit=one.credit)
                 for one in value or []]  # fmt: skip
        return _StripData(examples=shown)

    def api_info(self):
        return _StripData.model_json_schema()
