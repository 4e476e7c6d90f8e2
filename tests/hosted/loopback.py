"""Anthropic's Messages API on this machine: an HTTP server that the real client talks to.

Invariant: it binds 127.0.0.1 only; each request is kept, and answered by the next answer that was
queued, else by the default one.

    with serve_messages(reply_json({"label": "surnames"})) as hosted:
        hosted.queue(rate_limited(retry_after_s=0.01), refuse())
        settings = EngineSettings(anthropic_api_key="k", anthropic_base_url=hosted.url)
        ...
        assert hosted.requests[0]["model"] == "claude-haiku-5-5"
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INPUT_TOKENS, OUTPUT_TOKENS = 120, 30
"""Billed for every message."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer.

    Attributes:
        is_cut: the connection ends in the middle of the body.
        held: the answer is sent once this is set; None: at once.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False
    held: threading.Event | None = None


Respond = Callable[[dict[str, Any]], Answer]
"""An answer from the body of the request."""


def reply_text(text: str, stop_reason: str = "end_turn", thinking: str | None = None) -> Answer:
    """A message of one text; with `thinking`, a block of it comes first."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if thinking is not None:
        content.insert(0, {"type": "thinking", "thinking": thinking, "signature": "s"})
    return _message(content, stop_reason)


def reply_json(value: object, thinking: str | None = None) -> Answer:
    """A message of one JSON value, as structured output is."""
    return reply_text(json.dumps(value), thinking=thinking)


def refuse() -> Answer:
    """A refusal: status 200, no content."""
    return _message([], "refusal")


def nonsense() -> Answer:
    """Words where JSON was asked for."""
    return reply_text("Well, that depends on what you mean by a feature.")


def too_long() -> Answer:
    """JSON that ends in the middle, at max_tokens."""
    return reply_text('{"label": "sur', "max_tokens")


def rate_limited(retry_after_s: float | None = None) -> Answer:
    """Status 429, with the header retry-after if asked for."""
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return status(429, "rate_limit_error", headers)


def status(
    code: int, error_type: str = "api_error", headers: Mapping[str, str] | None = None
) -> Answer:
    """An error of the service, such as 401, 404, 500 or 529."""
    error = {"type": error_type, "message": f"loopback says {code}"}
    return Answer(code, json.dumps({"type": "error", "error": error}).encode(), headers or {})


def cut() -> Answer:
    """A body that ends in the middle."""
    whole = reply_text("never whole")
    return Answer(whole.status, whole.body, is_cut=True)


def held(answer: Answer, release: threading.Event) -> Answer:
    """A slow answer: it comes once `release` is set."""
    return Answer(answer.status, answer.body, answer.headers, answer.is_cut, release)


class LoopbackMessages:
    """What was asked, and what is answered next; `url` is where it listens."""

    def __init__(self, default: Answer | Respond) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.closing = threading.Event()
        self._default = default
        self._queued: deque[Answer] = deque()
        self._lock = threading.Lock()

    def queue(self, *answers: Answer) -> None:
        """These come next, in this order, before the default one."""
        with self._lock:
            self._queued.extend(answers)

    def answer(self, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        """The answer to a request, which is kept."""
        with self._lock:
            self.requests.append(body)
            self.headers.append(headers)
            if self._queued:
                return self._queued.popleft()
        return self._default if isinstance(self._default, Answer) else self._default(body)


@contextmanager
def serve_messages(default: Answer | Respond) -> Iterator[LoopbackMessages]:
    """Serves until the block ends.

    Args:
        default: answers every request for which nothing is queued.
    """
    loopback = LoopbackMessages(default)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(loopback))
    server.daemon_threads = True
    loopback.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield loopback
    finally:
        loopback.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(loopback: LoopbackMessages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length) or b"{}")
            if self.path != "/v1/messages":
                answer = status(404, "not_found_error")
            else:
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = loopback.answer(body, headers)
            if answer.held is not None:
                while not answer.held.wait(0.02) and not loopback.closing.is_set():
                    pass
            self.send_response(answer.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            sent = answer.body[: len(answer.body) // 2] if answer.is_cut else answer.body
            self.wfile.write(sent)
            if answer.is_cut:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: tests read `requests`."""

    return Handler


def _message(content: list[dict[str, Any]], stop_reason: str) -> Answer:
    message = {
        "id": "msg_loopback",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
    }
    return Answer(200, json.dumps(message).encode())
