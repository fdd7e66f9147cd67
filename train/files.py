"""Files that are there are whole: each is written under another name first, and then takes the place of the old one."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from sseg.errors import SSegError

UNFINISHED = ".unfinished"  # ending of what a kill may leave behind


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong while `path` is written becomes one sentence.

    Raises:
        SSegError: the disk is full, the folder is read-only, or a file stands where a folder should be.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise SSegError(f"{path} cannot be written ({_reason(error)}): make room, or name another folder.") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    told = re.search(r'message: "([^"]+)"', str(error))  # safetensors quotes the system
    return told[1] if told else str(error)


@contextmanager
def replacing(path: Path, writer: str = "") -> Iterator[Path]:
    """A path to write to; left without an error, what lies there becomes `path`, whole, with the mode of the umask.

    Args:
        writer: tells apart processes that may write the same file at the same moment; by default their number.
    Raises:
        SSegError: it cannot be written; `path` is then as it was.
    """
    part = path.with_name(f".{path.name}.{writer or os.getpid()}{UNFINISHED}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(b"")
            mode = part.stat().st_mode  # some writers (safetensors) make files for their owner alone
            yield part
            _keep(part, path, mode)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def replacing_files(folder: Path) -> Iterator[Path]:
    """A folder to write files into; left without an error, each of them takes the place of that of `folder`, whole.

    Raises:
        SSegError: they cannot be written; `folder` is then as it was, or some of its files are new and whole.
    """
    part = folder / f".{os.getpid()}{UNFINISHED}"
    with writing(folder):
        try:
            part.mkdir(parents=True, exist_ok=True)
            (part / "mode").write_bytes(b"")
            mode = (part / "mode").stat().st_mode
            (part / "mode").unlink()
            yield part
            for file in sorted(part.iterdir()):
                _keep(file, folder / file.name, mode)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _keep(part: Path, path: Path, mode: int) -> None:
    part.chmod(mode)
    with part.open("rb") as file:
        os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
    os.replace(part, path)


def write_whole(path: Path, data: bytes | str, writer: str = "") -> None:
    """Write a file (text as UTF-8) whole or not at all; see `replacing`."""
    with replacing(path, writer) as part:
        part.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def remove_unfinished(folder: Path) -> None:
    """Take away what killed writers left in a folder that nobody else writes to now."""
    for path in folder.glob(f".*{UNFINISHED}"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
