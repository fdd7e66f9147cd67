"""Requests to a started page as somebody sends them who reads no documentation and has no gradio_client."""

import json
from pathlib import Path

import httpx

META = {"_type": "gradio.FileData"}


def ask(address, event, data, seconds=60):
    """The last event's name and data of a call by name; data are the values in their order."""
    json_header = {"Content-Type": "application/json"}
    body = json.dumps({"data": data})  # in ASCII: half a character gets through
    asked = httpx.post(f"{address}gradio_api/call/{event}", content=body, headers=json_header, timeout=seconds)
    assert asked.status_code == 200, asked.text
    answer = httpx.get(f"{address}gradio_api/call/{event}/{asked.json()['event_id']}", timeout=seconds)
    *_, name, data = [line for line in answer.text.splitlines() if line.startswith(("event:", "data:"))]
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def upload(address, file):
    """As the page does it: the path of the copy in the upload cache."""
    with open(file, "rb") as data:
        return httpx.post(f"{address}gradio_api/upload", files={"files": (Path(file).name, data)}).json()[0]
