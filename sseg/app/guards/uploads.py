"""Which files a visitor may name: those in the upload cache, and the examples.

What arrives as a file is only a path that somebody wrote. Gradio looks at it if it says of itself that it is a file,
and fetches it if it is an address. So `Page` looks first, at every value of every event, and knows one sentence for all
that it refuses: nobody learns from it whether a file exists.

Names of files in the cache contain a hash of what they hold. So a visitor can name another one's picture only if they
have it already.
"""

import functools
import os
import stat

import gradio as gr
from gradio import processing_utils, utils
from gradio.route_utils import FnIndexInferError
from gradio_client.utils import traverse

from sseg.app import failures
from sseg.app.components import examples
from sseg.errors import SSegError

REFUSED = "This file was not given to this page, or it has been cleared away since: choose it again."
LEFT_AS_IT_IS = {"__type__": "update"}  # what a page holds for a moment whose event was told to leave a file alone
_META = {"_type": "gradio.FileData"}


class Events(dict):
    """The events of a page by number; one that it does not have is the fault of the request."""

    def __missing__(self, number):
        raise FnIndexInferError(f"This page has no event {number}.")


class Page(gr.Blocks):
    """Blocks whose events receive no file but those that `own_file` knows, and whose sessions do not grow."""

    def __exit__(self, *args):
        super().__exit__(*args)
        if not self.parent:
            self.default_config.fns = Events(self.default_config.fns)

    async def preprocess_data(self, block_fn, inputs, *args, **kw):
        try:
            if block_fn.fn is None or len(inputs) < len(block_fn.inputs):  # None: an event of the browser alone
                raise SSegError(failures.MALFORMED)
            inputs = [_checked(block, value) for block, value in zip(block_fn.inputs, inputs, strict=False)]
            return await super().preprocess_data(block_fn, inputs, *args, **kw)
        except gr.Error as error:  # of a component: a choice that it does not have
            error.print_exception = False
            raise
        except SSegError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:  # of Gradio's components, for values that no page sends
            raise failures.as_error(SSegError(failures.MALFORMED)) from None

    async def call_function(self, *args, **kw):
        try:
            return await super().call_function(*args, **kw)
        except gr.Error:
            raise
        except Exception as error:
            raise failures.as_error(error) from None

    async def postprocess_data(self, block_fn, predictions, state):
        """A change of a property makes the component anew, under the number of the old one. Gradio also files it under
        its own number when a value follows, and never takes it out."""
        answer = await super().postprocess_data(block_fn, predictions, state)
        if state:
            for kept in (state.blocks_config.blocks, state.config_values):
                for number in kept.keys() - self.blocks.keys():
                    del kept[number]
        return answer


def own_file(path) -> str:
    """Path of the file in the upload cache that `path` names; an example is copied there. SSegError for all else.

    A path outside is refused by how it is written. So nothing is opened, and no time tells what lies there.
    """
    try:
        if path in _examples():
            return processing_utils.save_file_to_cache(path, utils.get_upload_folder())
        if _is_upload(path):
            return path
    except (OSError, TypeError, ValueError):  # too long, no text, or with characters that no path can have
        pass
    raise SSegError(REFUSED)


@functools.cache
def _examples() -> frozenset[str]:
    return frozenset(one.path for one in examples.load())


def _is_upload(path: str) -> bool:
    """A regular file in the cache, by its plain path: without "..", and without links inside the cache."""
    folder = os.path.abspath(utils.get_upload_folder())
    if os.path.normpath(path) != path or not path.startswith(os.path.join(folder, "")):
        return False
    there = os.path.join(os.path.realpath(folder), os.path.relpath(path, folder))
    return os.path.realpath(path) == there and stat.S_ISREG(os.stat(path).st_mode)


def _checked(block, value):
    """The value of an input, with the files in it checked. gr.Error, which the page shows, for one that is refused."""
    try:
        if isinstance(block, (gr.Image, gr.File)):
            return None if value in (None, LEFT_AS_IT_IS) else _file(value)
        return traverse(value, _file, _looks_like_a_file)
    except SSegError as error:
        raise gr.Error(str(error), print_exception=False) from None


def _looks_like_a_file(value) -> bool:
    return isinstance(value, dict) and ("path" in value or "url" in value)


def _file(value) -> dict:
    """A file as Gradio writes it, with nothing of the visitor's but the path and the name to show."""
    if not isinstance(value, dict):
        raise SSegError(REFUSED)
    name = value.get("orig_name")
    return {"path": own_file(value.get("path")), "orig_name": name if isinstance(name, str) else None, "meta": _META}
