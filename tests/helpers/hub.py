"""The Hugging Face Hub as a server on this machine."""

import http.server
import json
import threading
from contextlib import contextmanager


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as a snapshot needs: revision, tree, files. `behaviour`: serve, hang, missing, gated."""

    folder, behaviour, sha, asked = None, "serve", "a" * 40, []

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        Hub.asked.append(self.path)
        if self.behaviour == "hang":
            self.server.closing.wait(60)
            return
        if self.behaviour in ("missing", "gated"):
            code = {"missing": "RepoNotFound", "gated": "GatedRepo"}[self.behaviour]
            return self.answer(404 if code == "RepoNotFound" else 403, b"{}", {"X-Error-Code": code})
        files = {p.name: p.read_bytes() for p in self.folder.iterdir()}
        path = self.path.split("?")[0]
        if "/revision/" in path:
            if not path.endswith(("/main", "/v1", self.sha)):
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": name} for name in files]
            return self.answer(200, json.dumps({"id": "someone/tiny", "sha": self.sha, "siblings": siblings}).encode())
        if "/tree/" in path:
            tree = [
                {"type": "file", "path": n, "size": len(d), "oid": f"{i:040x}"}
                for i, (n, d) in enumerate(files.items())
            ]
            return self.answer(200, json.dumps(tree).encode())
        data = files[path.rsplit("/", 1)[1]]
        self.answer(200, data, {"ETag": f'"{hash(data) & (1 << 60) - 1:x}"', "X-Repo-Commit": self.sha})

    def answer(self, status, data, headers=None):
        self.send_response(status)
        for key, value in {
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@contextmanager
def serve(folder, cache, monkeypatch):
    """A Hub on the loopback whose every repository has the files of `folder`; huggingface_hub's constants point there,
    and to the folder `cache`. Yields the class `Hub`, whose attributes may be changed."""
    Hub.folder, Hub.behaviour, Hub.asked = folder, "serve", []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads, server.closing = True, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    point_to(f"http://127.0.0.1:{server.server_port}", cache, monkeypatch)
    yield Hub
    server.closing.set()
    server.shutdown()
    server.server_close()


def point_to(endpoint, cache, monkeypatch):
    """Let huggingface_hub, from here on, ask that server and keep its files in that folder."""
    from huggingface_hub import constants, hf_api

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(hf_api.api, "endpoint", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
