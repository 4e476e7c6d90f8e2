"""A sign-in provider on loopback: OpenID Connect as far as Streamlit's sign-in needs it.

Invariant: it signs in one person without asking, with a token that is signed by its own key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID = "featurebook"
PERSON = "ada@books.example"
_KEY = b"a key of thirty-two bytes or more, for tests"


@contextmanager
def run_provider(port: int) -> Iterator[str]:
    """Serves until the block ends; yields the provider's address."""
    issuer = f"http://127.0.0.1:{port}"
    server = uvicorn.Server(
        uvicorn.Config(_app(issuer), host="127.0.0.1", port=port, log_level="error", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield issuer
    server.should_exit = True
    thread.join()


def secrets_toml(issuer: str, origin: str) -> str:
    """What `.streamlit/secrets.toml` says to sign in there."""
    return "\n".join(
        [
            "[auth]",
            f'redirect_uri = "{origin}/oauth2callback"',
            'cookie_secret = "thirty-two characters or more are best"',
            f'client_id = "{CLIENT_ID}"',
            'client_secret = "not one"',
            f'server_metadata_url = "{issuer}/.well-known/openid-configuration"',
        ]
    )


def _app(issuer: str) -> Starlette:
    nonces: dict[str, str] = {}

    async def metadata(_request: Request) -> JSONResponse:
        return JSONResponse(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "jwks_uri": f"{issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["HS256"],
            }
        )

    async def authorize(request: Request) -> Response:
        asked = request.query_params
        code = f"code{len(nonces)}"
        nonces[code] = asked.get("nonce", "")
        answer = urlencode({"code": code, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{answer}", 302)

    async def token(request: Request) -> JSONResponse:
        form = await request.form()
        now = int(time.time())
        claims = {
            "iss": issuer,
            "aud": CLIENT_ID,
            "sub": "ada",
            "email": PERSON,
            "nonce": nonces[str(form["code"])],
            "iat": now,
            "exp": now + 600,
        }
        return JSONResponse(
            {"access_token": "none", "token_type": "Bearer", "id_token": _signed(claims)}
        )

    async def keys(_request: Request) -> JSONResponse:
        key = {"kty": "oct", "alg": "HS256", "kid": "k", "use": "sig", "k": _encoded(_KEY)}
        return JSONResponse({"keys": [key]})

    return Starlette(
        routes=[
            Route("/.well-known/openid-configuration", metadata),
            Route("/authorize", authorize),
            Route("/token", token, methods=["POST"]),
            Route("/keys", keys),
        ]
    )


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _signed(claims: dict[str, object]) -> str:
    header = {"alg": "HS256", "typ": "JWT", "kid": "k"}
    parts = [_encoded(json.dumps(part).encode()) for part in (header, claims)]
    signature = hmac.new(_KEY, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, _encoded(signature)])
