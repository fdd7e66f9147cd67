"""What is looked at before the page starts: where it listens, and where it keeps files."""

import errno
import os
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from sseg.errors import SSegError

PORTS = (1, 65_535)
UPLOADS = "GRADIO_TEMP_DIR"  # the variable that says where gradio keeps uploads and answers
_BINDING = {
    errno.EADDRINUSE: "Port {port} is taken: stop what uses it, or choose another with --port.",
    errno.EADDRNOTAVAIL: '"{host}" is no address of this machine: give --host one that is, or 0.0.0.0 for all of them.',
    errno.EACCES: "Port {port} is kept for the system: choose one from 1024 with --port.",
}


def check_place(host: str, port: int) -> None:
    """SSegError if nothing can listen at that address or name and port."""
    if not PORTS[0] <= port <= PORTS[1]:
        raise SSegError(f"There is no port {port}: choose one from {PORTS[0]} to {PORTS[1]} with --port.")
    try:
        places = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):  # UnicodeError: no name could be written so
        raise SSegError(f'There is no machine "{host}": give --host an address of this one.') from None
    problems = [problem for place in places if (problem := _problem(*place))]
    if len(problems) == len(places):
        said = _BINDING.get(problems[0].errno, "Nothing can listen at {host}, port {port}: choose another place.")
        raise SSegError(said.format(host=host, port=port)) from problems[0]


def _problem(family, kind, protocol, _, address) -> OSError | None:
    """Why nothing can listen there; None if it can."""
    try:
        with socket.socket(family, kind, protocol) as trial:
            if os.name == "posix":  # elsewhere it would let two programs listen at once
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        return error
    return None


def keep_files_apart() -> None:
    """Have gradio keep files in a folder of one's own, unless the environment names one: its usual folder, the same
    for all users of a machine, may belong to somebody else. SSegError if there is no room for files."""
    named = os.environ.get(UPLOADS)
    try:
        if named:
            os.makedirs(named, exist_ok=True)
            tempfile.TemporaryFile(dir=named).close()
        else:
            os.environ[UPLOADS] = _own_folder()
    except OSError as error:
        place = f'The folder "{named}" of {UPLOADS}' if named else "The folder for temporary files"
        advice = "set it to one that can" if named else f"set {UPLOADS} to one that can"
        raise SSegError(f"{place} cannot be written to ({error.strerror}): {advice}.") from None


def _own_folder() -> str:
    """The same at every start, as long as nobody else is in its place; others cannot look into it."""
    owner = os.getuid() if hasattr(os, "getuid") else "own"
    folder = Path(tempfile.gettempdir()).resolve() / f"sseg-{owner}"
    with suppress(FileExistsError):  # a file of that name
        folder.mkdir(0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and owner in (found.st_uid, "own"):
        folder.chmod(0o700)
        return str(folder)
    return tempfile.mkdtemp(prefix="sseg-")
