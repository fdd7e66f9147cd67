"""Samples of tars, packed or not, as WebDataset and img2dataset write them; damage in the middle loses only itself."""

import gzip
import io
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from train.importing.found import Found
from train.importing.sidecars import Member, samples

ENDINGS = (".tar", ".tar.gz", ".tgz")
BLOCK = tarfile.BLOCKSIZE


def read_tar(path: Path) -> Iterator[Found]:
    """All samples of a tar; each stretch of it that is no tar is one `Found` with a problem."""
    packed_by_gzip = not path.name.lower().endswith(".tar")
    with tempfile.TemporaryFile() if packed_by_gzip else path.open("rb") as file:
        if packed_by_gzip:
            try:
                with gzip.open(path) as packed:
                    shutil.copyfileobj(packed, file)
            except (OSError, EOFError, zlib.error):
                yield Found(path.name, problem="a packed tar that ends in damage")
        damage: list[Found] = []
        members = list(_members(file, path.name, damage))
        yield from samples(members)
        yield from damage


def _members(file: BinaryIO, name: str, damage: list[Found]) -> Iterator[Member]:
    """Files of a tar; `ignore_zeros` makes tarfile look for the next header where there is none."""
    size, end = file.seek(0, io.SEEK_END), 0
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:", ignore_zeros=True) as tar:
            for member in tar:
                _check(file, end, member.offset, name, damage)
                end = member.offset_data + -(-member.size // BLOCK) * BLOCK if member.isreg() else member.offset_data
                if member.isreg() and member.offset_data + member.size <= size:
                    yield member.name, lambda m=member: _read(file, m)
                elif member.isreg():
                    damage.append(Found(member.name, problem="a tar that ends within a file"))
    except tarfile.TarError:
        pass  # what lies behind the last member is looked at next
    _check(file, end, size, name, damage)


def _read(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    file.seek(member.offset_data)
    return file.read(member.size)


def _check(file: BinaryIO, start: int, end: int, name: str, damage: list[Found]) -> None:
    """Between two members there may be nothing but zeros."""
    place = file.tell()
    file.seek(start)
    left = end - start
    while left > 0 and (part := file.read(min(left, 2**20))):
        left -= len(part)
        if part.strip(b"\0"):
            damage.append(Found(f"{name}, bytes {start} to {end}", problem="a damaged stretch of a tar"))
            break
    file.seek(place)
