"""How the loopback hub answers one request: the endpoints, headers and errors of the real one.

Invariant: a fault is met before anything else of its stage; a connection that a fault ended is
never used again.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from tests.hub.loopback import Fault, LoopbackHub, ServedFile, Stage

_PIECE = 16_384
_ENDING = ("cut", "reset", "stall")
_AT_ONCE = struct.pack("ii", 1, 0)
_API = re.compile(
    r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/(?P<revision>[^/]+))?"
)
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_MISSING = {"repository": "RepoNotFound", "revision": "RevisionNotFound", "file": "EntryNotFound"}


class _EndedError(Exception):
    """A fault ended this request."""


class Answers(BaseHTTPRequestHandler):
    """One connection; the class attribute `hub` says what is served."""

    hub: ClassVar[LoopbackHub]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: tests count instead."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        try:
            if found := _FILE.fullmatch(url.path):
                self._file(found["repo"], unquote(found["revision"]), unquote(found["path"]))
            elif found := _API.fullmatch(url.path):
                with_sizes = parse_qs(url.query).get("blobs", ["false"])[0].lower() == "true"
                revision = unquote(found["revision"] or "main")
                self._describe(found["repo"], revision, found["what"] == "tree", with_sizes)
            else:
                self._send(404, b"")
        except _EndedError:
            self.close_connection = True

    # ---------------------------------------------------------------------------- endpoints

    def _describe(self, repo_id: str, revision: str, as_tree: bool, with_sizes: bool) -> None:
        self._meet("metadata", repo_id)
        commit = self._commit(repo_id, revision, is_file=False)
        if commit is None:
            return
        files = self.hub.files(repo_id, commit)
        if as_tree:
            self._send_json([_tree_entry(name, file) for name, file in files.items()])
            return
        siblings = [_sibling(name, file, with_sizes) for name, file in files.items()]
        gated = "manual" if repo_id in self.hub.gated else False
        self._send_json({"id": repo_id, "sha": commit, "gated": gated, "siblings": siblings})

    def _file(self, repo_id: str, revision: str, path: str) -> None:
        is_head = self.command == "HEAD"
        self.hub.add_count(path, heads=int(is_head), gets=int(not is_head))
        fault = self._meet("headers" if is_head else "body", path)
        commit = self._commit(repo_id, revision, is_file=True)
        if commit is None:
            return
        file = self.hub.files(repo_id, commit).get(path)
        if file is None:
            self._send_error(404, _MISSING["file"], {"X-Repo-Commit": commit})
            return
        headers = {"ETag": f'"{file.sha256 or file.git_oid}"', "X-Repo-Commit": commit}
        headers["Accept-Ranges"] = "bytes"
        if file.sha256 is not None:
            headers |= {"X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.sha256}"'}
        self._send_content(file, path, headers, fault)

    def _commit(self, repo_id: str, revision: str, is_file: bool) -> str | None:
        """The commit, or None once the request was refused."""
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        wanted = self.hub.tokens.get(repo_id)
        if wanted is not None and given and given != wanted:
            problem = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self._send_error(401, "", problem)
        elif not self.hub.has(repo_id) or (wanted is not None and not given):
            # The real hub does not tell a stranger which repositories exist.
            self._send_error(404 if given else 401, _MISSING["repository"])
        elif is_file and repo_id in self.hub.gated:
            self._send_error(403, "GatedRepo")
        else:
            commit = self.hub.find_commit(repo_id, revision)
            if commit is None:
                self._send_error(404, _MISSING["revision"])
            return commit
        return None

    # -------------------------------------------------------------------------------- faults

    def _meet(self, stage: Stage, name: str) -> Fault | None:
        """Ends the request, or returns a fault that happens later in the body."""
        fault = self.hub.take_fault(stage, name)
        if fault is None:
            return None
        if fault.kind == "status":
            self._send(fault.status, b"")
            raise _EndedError
        if fault.after_bytes is None and fault.kind in _ENDING:
            self._end(fault)
        return fault

    def _end(self, fault: Fault) -> None:
        self.wfile.flush()
        if fault.kind == "stall":
            self.hub.closing.wait()
        if fault.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self.connection.close()
            raise _EndedError
        self.connection.shutdown(socket.SHUT_RDWR)
        raise _EndedError

    # ------------------------------------------------------------------------------- sending

    def _send_content(
        self, file: ServedFile, path: str, headers: dict[str, str], fault: Fault | None
    ) -> None:
        kind = fault.kind if fault else None
        size = fault.after_bytes or 0 if fault and kind == "truncate" else file.size
        start = 0
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if found and int(found[1]) < size:
            start = int(found[1])
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self.send_response(206 if start else 200)
        for name, value in (headers | {"Content-Length": str(size - start)}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = 0
        with file.path.open("rb") as content:
            content.seek(start)
            while sent < size - start:
                piece = content.read(min(_PIECE, size - start - sent))
                if fault and kind in _ENDING:
                    piece = piece[: (fault.after_bytes or 0) - sent]
                if kind == "corrupt":
                    piece = bytes(255 - byte for byte in piece)
                self.wfile.write(piece)
                self.hub.add_count(path, n_bytes=len(piece))
                sent += len(piece)
                if fault and kind in _ENDING and sent >= (fault.after_bytes or 0):
                    self._end(fault)
                self._rest(len(piece))
        self.hub.add_count(path, finished=1)

    def _rest(self, n_bytes: int) -> None:
        """Waits as long as these bytes take at the wanted speed."""
        speed = self.hub.bytes_per_s
        if speed and self.hub.closing.wait(n_bytes / speed):
            raise _EndedError

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send_error(self, status: int, code: str, more: dict[str, str] | None = None) -> None:
        self._send(status, b"", ({"X-Error-Code": code} if code else {}) | (more or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ((headers or {}) | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.send_header("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _large(file: ServedFile) -> dict[str, object]:
    return {"sha256": file.sha256, "oid": file.sha256, "size": file.size, "pointerSize": 134}


def _sibling(name: str, file: ServedFile, with_sizes: bool) -> dict[str, object]:
    if not with_sizes:
        return {"rfilename": name}
    entry: dict[str, object] = {"rfilename": name, "size": file.size, "blobId": file.git_oid}
    return entry | ({"lfs": _large(file)} if file.sha256 else {})


def _tree_entry(name: str, file: ServedFile) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": name, "size": file.size}
    return entry | {"oid": file.git_oid} | ({"lfs": _large(file)} if file.sha256 else {})
