"""Who may reach this server: the rules for addresses, hosts, origins and tokens.

Invariant: without a token, a sign-in or an explicit `--insecure`, nothing is answered that did not
arrive on a loopback address under a loopback name, whatever the server was bound to.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers

COOKIE = "featurebook_access"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    error_type: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """What was configured.

    Attributes:
        token: that the API and, where there is no sign-in, the pages ask for.
        has_sign_in: whether Streamlit's `[auth]` is configured; it then guards the pages.
        is_insecure: serve anyone, by explicit wish.
    """

    token: str | None = None
    has_sign_in: bool = False
    is_insecure: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for anything: then only this machine is answered."""
        return self.token is None and not self.has_sign_in and not self.is_insecure

    def bind_problem(self, address: str | None) -> str | None:
        """One sentence if the server must not bind this address (None is every address)."""
        if not self.is_open or (address is not None and is_loopback(address)):
            return None
        return (
            f"Nothing would guard {address or 'the server'} against those who can reach it: "
            "set FEATUREBOOK_API_TOKEN, configure sign-in, or pass --insecure."
        )

    def check_arrival(self, method: str, server: str | None, headers: Headers) -> Refusal | None:
        """Refuses what came over the network, by a foreign name, or from a foreign page.

        Args:
            method: of HTTP; `GET` for a WebSocket.
            server: address that the connection arrived on; None where it is not known.
        """
        host = headers.get("host", "")
        if self.is_open:
            if server is not None and not is_loopback(server):
                return Refusal(
                    403,
                    "NotLocal",
                    "This server answers only its own machine.",
                    "Set FEATUREBOOK_API_TOKEN to serve others.",
                )
            if not is_loopback(_host_name(host)):
                return Refusal(
                    403,
                    "ForeignHost",
                    "This server is not reached under that name.",
                    "Use http://127.0.0.1 with its port.",
                )
        origin = headers.get("origin")
        if method not in _SAFE_METHODS and origin and urlsplit(origin).netloc != host:
            return Refusal(
                403,
                "ForeignOrigin",
                "Another site's page may not change anything here.",
                "Call the API from a program, or use the dashboard.",
            )
        return None

    def has_token(self, headers: Headers) -> bool:
        """Whether a request carries the token, as a bearer or as the cookie of the sign-in page."""
        if self.token is None:
            return False
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.matches(value.strip()):
            return True
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and _equal(morsel.value, self.cookie_value())

    def matches(self, value: str) -> bool:
        """Whether a value is the token, compared in constant time."""
        return self.token is not None and _equal(value, self.token)

    def cookie_value(self) -> str:
        """What the cookie holds: proof of the token, not the token. Another token ends it."""
        key = (self.token or "").encode()
        return hmac.new(key, b"featurebook pages", hashlib.sha256).hexdigest()


def is_loopback(address: str) -> bool:
    """Whether an address or name is this machine's own."""
    if address.lower() == "localhost" or address.startswith(("unix://", "/")):
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def safe_next(path: str) -> str:
    """A path of this site to go to after signing in; `/` for anything else."""
    is_path = path.startswith("/") and not path.startswith(("//", "/\\"))
    is_plain = path.isascii() and path.isprintable() and "\\" not in path
    return path if is_path and is_plain else "/"


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())
