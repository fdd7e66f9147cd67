"""What a person sees when something goes wrong: one sentence. A bug's traceback goes to the log."""

import functools
import logging

import gradio as gr

from sseg.errors import SSegError

log = logging.getLogger(__name__)

MALFORMED = "This is no request that the page takes: /gradio_api/info says which it does."
BUG = "This is a bug in S-Seg, not a mistake of yours; the details are in the server's log."


def sentence(error: Exception) -> str:
    """The sentence for an exception; anything but an SSegError is logged with its traceback."""
    if isinstance(error, SSegError):
        return str(error)
    log.error("unexpected error in the app", exc_info=error)
    return BUG


def as_error(error: Exception) -> gr.Error:
    """For the queue: API clients get the sentence; the page shows it itself, so no second message pops up."""
    return gr.Error(sentence(error), visible=False, print_exception=False)


def told(event: gr.EventData, name: str, most: int | None = None):
    """What the page says of an event under `name`, a place in 0..most - 1 if that is given; a client may say anything.

    The sentence for malformed requests if it is not there.
    """
    value = (event._data or {}).get(name)
    if value is None or (most is not None and not (type(value) is int and 0 <= value < most)):
        raise as_error(SSegError(MALFORMED))
    return value


def for_api(function):
    """Wrap an event handler whose failures only API clients meet."""

    @functools.wraps(function)
    def wrapped(*args):
        try:
            return function(*args)
        except Exception as error:
            raise as_error(error) from None

    return wrapped


def for_page(function):
    """Wrap a server function of the viewer: one dict in; the answer, or {"error": sentence}, out."""

    def wrapped(question):
        try:
            return function(**question)
        except Exception as error:
            return {"error": sentence(error)}

    wrapped.__name__ = function.__name__  # not functools.wraps: gradio would see the wrapped one's parameters
    return wrapped
