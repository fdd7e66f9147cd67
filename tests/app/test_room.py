"""Files in the upload cache take a stated room: uploads to a started page that has little."""

import os
from pathlib import Path

import httpx
import pytest
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from sseg.app.build import build, options
from sseg.app.guards.room import AROUND, Room, make_room
from tests.helpers.raw import META, ask, upload

MB = 1 << 20


@pytest.fixture
def narrow(loaded, tmp_path, monkeypatch):
    """Address and cache of a page that keeps 4 MB of files."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    page, wanted = build(*loaded), options("127.0.0.1", None)
    middleware = wanted["app_kwargs"]["middleware"]
    places = [place for place, one in enumerate(middleware) if one.cls is Room]
    middleware[places[0]] = Middleware(Room, most=4 * MB, every=0)
    page.launch(prevent_thread_lock=True, quiet=True, **wanted)
    yield page.local_url, Path(get_upload_folder())
    page.close()


def held(folder):
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())


def test_the_oldest_uploads_go_and_the_page_stays(narrow, path):
    address, folder = narrow
    shown = {one for one in folder.rglob("*") if one.is_file()}  # what the page itself shows
    first = upload(address, path)
    for number in range(8):
        sent = {"files": ("a.bin", bytes([number]) * MB)}
        last = httpx.post(f"{address}gradio_api/upload", files=sent).json()[0]
        assert Path(last).is_file() and held(folder) <= (4 + 1) * MB  # looked at before each
    assert not Path(first).exists() and all(one.is_file() for one in shown)
    name, said = ask(address, "segment", [{"path": first, "meta": META}, "dog", 0.15, None])
    assert name == "error" and "cleared away" in said["error"]
    again = {"path": upload(address, path), "meta": META}
    assert ask(address, "segment", [again, "dog", 0.15, None])[0] == "complete"


def test_many_small_files_take_room_too_and_what_is_not_ours_stays(tmp_path):
    mine = [tmp_path / "holiday.jpg", tmp_path / "album" / "1.jpg", tmp_path / ("a" * 63) / "2.jpg"]
    small = [tmp_path / f"{number:064x}" / "a.png" for number in range(100)]
    begun = tmp_path / "tmpabcd_123"
    for age, file in enumerate([*mine, begun, *small]):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"1")
        os.utime(file, (age, age))
    make_room(tmp_path, 10 * (AROUND + 1))
    assert all(one.is_file() for one in mine) and not begun.exists()
    assert [one.is_file() for one in small] == [False] * 90 + [True] * 10
    assert not any(one.parent.exists() for one in small[:90])
