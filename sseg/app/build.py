"""The page: frame, tabs, and what is said about the weights."""

import os
import warnings

import gradio as gr
from fastapi.exceptions import RequestValidationError
from gradio.route_utils import FnIndexInferError
from PIL import Image
from starlette.middleware import Middleware

from sseg.app import memory, theme
from sseg.app import weights as live_weights
from sseg.app.components import cards
from sseg.app.components.viewer import text
from sseg.app.guards import gate
from sseg.app.guards.bodies import Bodies
from sseg.app.guards.room import Room
from sseg.app.guards.uploads import Page
from sseg.app.service import Service
from sseg.app.tabs import compare, pseudo_masks, segment

TITLE = "S-Seg"
TOP = """<header class="sseg-top"><h1>S-Seg</h1><p>Type words, get the picture segmented.</p>
<details><summary></summary><p></p></details></header>"""
TOP_JS = """
const fill = () => {
  const live = props.value || {};
  element.querySelector('summary').textContent = live.line || '';
  element.querySelector('summary').title = live.sentence || '';
  element.querySelector('details p').textContent = live.sentence || '';
};
watch('value', fill);
fill();
"""
CARD_JS = """
const fill = () => { element.querySelector('article').innerHTML = props.value || ''; };
watch('value', fill);
fill();
"""
SESSIONS = 200  # remembered at once, half a megabyte each; of older ones the last picture and settings are forgotten
KEPT_SECONDS = 24 * 3600  # uploads and answers on the disk


SEGMENT, PSEUDO_MASKS, COMPARE = "segment", "pseudo-masks", "compare"  # as in ?tab=pseudo-masks
_ADDRESS = """() => {
  if (!window.ssegOpened) return void (window.ssegOpened = true);  // the page itself opens its first tab
  const url = new URL(location);
  url.searchParams.set('tab', '%s');
  history.replaceState(history.state, '', url);
}"""


class StatusLine(gr.HTML):
    """Name of the page and the live weights; value: {"line": ..., "sentence": ...}."""

    def __init__(self, value):
        super().__init__(
            value, html_template=TOP, js_on_load=text("dropping.js", before=TOP_JS), apply_default_css=False
        )

    def postprocess(self, value):
        return value

    def api_info(self):
        return {"type": "object"}


class Card(gr.HTML):
    """A model card; value: what `cards.html` made. Not in the template, which gradio evaluates."""

    def __init__(self, value):
        super().__init__(value, html_template='<article class="sseg-card"></article>', js_on_load=CARD_JS)


def build(segmenter, weights) -> gr.Blocks:
    """The app as Gradio Blocks, for what `weights.load` returns; start it with `launch(**options())`."""
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # big pictures are scaled down
    memory.map_large_buffers()
    service = Service(segmenter, weights.name)
    with Page(title=TITLE, delete_cache=(3600, KEPT_SECONDS), analytics_enabled=False) as page:
        status = StatusLine(live_weights.status(segmenter, weights))
        with gr.Tabs(selected=SEGMENT) as tabs:
            with gr.Tab("Segment", id=SEGMENT) as first:
                picture, chosen = segment.add(service, weights.loadable, page)
            with gr.Tab("Pseudo-masks", id=PSEUDO_MASKS) as second:
                pseudo_masks.add(service, second, picture)
            with gr.Tab("Compare", id=COMPARE) as third:
                compare.add(service, third, picture, chosen)
        for tab in (first, second, third):
            tab.select(None, None, None, js=_ADDRESS % tab.id)
        page.load(_asked_tab, None, tabs, api_visibility="private", show_progress="hidden")
        with gr.Accordion("About these weights", open=False):
            card = Card(cards.html(live_weights.card(weights)))

        def tell(name):
            now = weights if name == weights.name else live_weights.find(name)
            return live_weights.status(service.call(service.loaded, name), now), cards.html(live_weights.card(now))

        chosen.change(tell, chosen, [status, card], show_progress="hidden", api_visibility="private")
    page.queue(max_size=32)
    return page


def options(host=None, port=None, allowed_hosts=()) -> dict:
    """Arguments for `launch`: look, limits, who is let in, and nothing that leaves the machine.

    SSegError for an allowed host that is no name.
    """
    names = gate.own_names(host or os.environ.get("GRADIO_SERVER_NAME"), allowed_hosts)
    return {
        "app_kwargs": {
            "middleware": [Middleware(gate.Gate, names=names), Middleware(Room), Middleware(Bodies)],
            "exception_handlers": {
                RequestValidationError: gate.refuse_malformed,
                FnIndexInferError: gate.refuse_malformed,
            },
        },
        "enable_monitoring": False,
        "server_name": host,
        "server_port": port,
        "theme": theme.theme(),
        "css_paths": theme.CSS_FILES,
        "max_file_size": "64mb",
        "state_session_capacity": SESSIONS,
        "footer_links": [],
        "run_history": False,
        "ssr_mode": False,
        "show_error": True,
        "share": False,
    }


def _asked_tab(request: gr.Request):
    """The tab that the address asks for, if there is such a tab."""
    asked = request.query_params.get("tab")
    return gr.update(selected=asked) if asked in (SEGMENT, PSEUDO_MASKS, COMPARE) else gr.skip()
