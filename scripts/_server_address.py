"""The running server, as commands on the same machine find and ask it."""

from __future__ import annotations

import json
from http.client import HTTPResponse
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.errors import StoreError, StoreLockedError

_EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class ServerAddress(BaseSettings):
    """Where a running server answers, read as the server itself reads it."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    host: str = Field(default="127.0.0.1", description="Address of the server.")
    port: int = Field(default=8501, description="Port of the server.")
    featurebook_api_token: SecretStr | None = Field(default=None, description="Its token.")

    @property
    def url(self) -> str:
        """Of the server, seen from this machine."""
        host = _EVERY_ADDRESS.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def open(
        self, method: str, path: str, timeout_s: float, content: dict[str, object] | None = None
    ) -> HTTPResponse:
        """Sends one request, with the token and past every proxy.

        Args:
            method: of HTTP.
            path: with its query, from the root.
            timeout_s: longest silence.
            content: is sent as JSON.

        Raises:
            HTTPError: for a status of 400 and above. OSError: if nothing answers.
        """
        body = None if content is None else json.dumps(content).encode()
        request = Request(self.url + path, body, method=method)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        if self.featurebook_api_token is not None:
            token = self.featurebook_api_token.get_secret_value()
            request.add_header("Authorization", f"Bearer {token}")
        # A proxy of this machine must not see what is asked of a server on it.
        response: HTTPResponse = build_opener(ProxyHandler({})).open(request, timeout=timeout_s)
        return response

    def is_silent(self, locked: StoreLockedError) -> StoreError:
        """What to say where another process holds the store, and no server answers."""
        return StoreError(
            f"{locked.message.removesuffix('.')}, and no server answers at {self.url}.",
            "Set HOST and PORT to the server's, or stop the process that holds the store.",
        )


def said_by(server: ServerAddress, error: HTTPError) -> StoreError:
    """What the server said of a request that it refused."""
    try:
        said = json.loads(error.read())["error"]
        return StoreError(str(said["message"]), str(said["hint"]))
    except (ValueError, KeyError, TypeError):
        return StoreError(f"What answers at {server.url} is not Featurebook.", "Set HOST and PORT.")
