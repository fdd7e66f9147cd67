"""The Hugging Face Hub, with a deadline of our own: huggingface_hub can wait for ever on a server that accepts a
connection and never answers."""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from sseg.errors import SSegError

log = logging.getLogger(__name__)

TIMEOUT = 60.0  # seconds without a sign of progress; the variable SSEG_HUB_TIMEOUT overrides it


class HubError(Exception):
    """Why the Hub gave nothing, in words that go on a sentence: "the Hub has no such repository, or it is private"."""


def snapshot(repo: str, revision: str | None, patterns: list[str]) -> Path:
    """The folder, in the local cache, of the Hub's copy of `repo`: of the files that fit `patterns`.

    The transfer is given up after `TIMEOUT` without progress; then an earlier copy in the cache serves, if there is
    one. Raises HubError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    options: dict[str, Any] = {"repo_id": repo, "revision": revision, "allow_patterns": patterns}
    timeout = _timeout()
    try:
        return Path(_within(timeout, lambda bar: snapshot_download(**options, tqdm_class=bar)))
    except TimeoutError as error:
        problem, cause = _silence(timeout), error
    except Exception as error:  # networks, proxies and the Hub fail in many types
        raise HubError(_problem(error, "the download failed")) from error
    try:
        folder = Path(snapshot_download(**options, local_files_only=True))
    except LocalEntryNotFoundError:
        raise HubError(problem) from cause
    log.warning('"%s": %s, so the copy downloaded earlier is used.', repo, problem)
    return folder


def cached(repo: str, revision: str | None, name: str) -> Path | None:
    """A file of `repo` in the local cache, without a look at the network; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, name, revision=revision)
    return Path(found) if isinstance(found, str) else None  # it may also be a mark that the Hub has no such file


def ask(repo: str, revision: str | None, name: str, seconds: float) -> None:
    """Return if the Hub says, within `seconds`, that it has that file; else raise HubError."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        url = hf_hub_url(repo, name, revision=revision)
        _within(seconds, lambda _: get_hf_file_metadata(url, timeout=seconds))
    except TimeoutError as error:
        raise HubError(_silence(seconds)) from error
    except Exception as error:
        raise HubError(_problem(error, "the Hub cannot be reached")) from error


def _within(timeout: float, job):
    """Result of `job(progress_bar_class)` from a thread; TimeoutError after `timeout` seconds without progress."""
    from huggingface_hub.utils import tqdm

    alive = [time.monotonic()]
    answer = {}

    class Bar(tqdm):
        def update(self, n=1):
            alive[0] = time.monotonic()
            return super().update(n)

    def work():
        try:
            answer["result"] = job(Bar)
        except BaseException as error:  # handed to the caller's thread
            answer["error"] = error

    thread = threading.Thread(target=work, daemon=True, name="sseg-hub")  # a daemon never holds up the end of Python
    thread.start()
    while thread.is_alive():
        left = alive[0] + timeout - time.monotonic()
        if left <= 0:
            raise TimeoutError
        thread.join(min(left, 1.0))
    if "error" in answer:
        raise answer["error"]
    return answer["result"]


def _timeout() -> float:
    try:
        return float(os.environ.get("SSEG_HUB_TIMEOUT", TIMEOUT))
    except ValueError:
        raise SSegError("SSEG_HUB_TIMEOUT must be a number of seconds.") from None


def _silence(seconds: float) -> str:
    return f"the Hub gave no answer for {seconds:g} seconds"


def _problem(error: Exception, otherwise: str) -> str:
    from huggingface_hub import constants, errors

    off = "the Hub is switched off (HF_HUB_OFFLINE)"
    away = off if constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
    reasons = (  # the first that fits; a gated repository is also one that is not found
        (errors.GatedRepoError, "its owner grants access on request (then log in with `hf auth login`)"),
        (errors.RevisionNotFoundError, "the Hub has the repository but not that revision"),
        (errors.RepositoryNotFoundError, "the Hub has no such repository, or it is private"),
        (errors.HFValidationError, "that is not a name the Hub allows"),
        (errors.OfflineModeIsEnabled, f"{off} and there is no copy here"),
        (errors.LocalEntryNotFoundError, f"{away} and there is no copy here"),
    )
    for kind, reason in reasons:
        if isinstance(error, kind):
            return reason
    return f"{otherwise} ({type(error).__name__})"
