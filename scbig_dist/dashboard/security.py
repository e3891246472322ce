"""Who may read the page: loopback only, or whoever holds the token; what a browser may do with it."""

from __future__ import annotations

import hashlib
import hmac
import html
import ipaddress
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import flask

from scbig_dist.errors import UserError

COOKIE = "scbig-dashboard"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_PATHS = ("/login", "/assets/page.css")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path | None) -> str:
    """A new token, or the one of a file that its owner alone can read (made where it is not there)."""
    if path is None:
        return secrets.token_urlsafe(24)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            token = secrets.token_urlsafe(24)
            file.write(token + "\n")
            return token
    except FileExistsError:
        pass
    except OSError as error:
        raise UserError(f"--token-file {path}: {error.strerror}; name a file that can be written") from None
    if path.stat().st_mode & 0o077:
        raise UserError(f"--token-file {path}: others can read it; chmod 600 {path}")
    token = path.read_text().strip()
    if len(token) < 16:
        raise UserError(f"--token-file {path}: a token has at least 16 characters; remove the file, and one is made")
    return token


def protect(server: flask.Flask, token: str | None, script_hashes: Sequence[str]) -> None:
    """Headers on every answer; with a token nothing is answered before it was given, without one only loopback names are."""
    sources = " ".join(f"'{each}'" if not each.startswith("'") else each for each in script_hashes)
    policy = (
        f"default-src 'none'; script-src 'self' {sources}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )

    @server.after_request
    def headers(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    if token is None:
        _only_loopback_names(server)
    else:
        _ask_for_token(server, token)


def _only_loopback_names(server: flask.Flask) -> None:
    """A page elsewhere whose name resolves to this machine (DNS rebinding) gets nothing."""

    @server.before_request
    def check() -> tuple[str, int] | None:
        host = flask.request.host.rsplit(":", 1)[0] if not flask.request.host.endswith("]") else flask.request.host
        return None if host.strip("[]") in LOOPBACK_NAMES else ("only for this machine; use localhost", 403)


def _ask_for_token(server: flask.Flask, token: str) -> None:
    mark = hashlib.sha256(b"scbig-dashboard cookie " + token.encode()).hexdigest()  # the cookie is not the token itself

    @server.before_request
    def check() -> flask.typing.ResponseReturnValue | None:
        request = flask.request
        if request.path in OPEN_PATHS:
            return None
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if same(given, token) or same(request.cookies.get(COOKIE, ""), mark):
            return None
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return flask.redirect("/login")
        return "the token is missing or wrong", 401

    @server.get("/login")
    def ask() -> str:
        return _login_page("")

    @server.post("/login")
    def take() -> flask.typing.ResponseReturnValue:
        if not same(flask.request.form.get("token", ""), token):
            return _login_page("That is not the token."), 401
        response = flask.make_response(flask.redirect("/"))
        response.set_cookie(
            COOKIE, mark, httponly=True, samesite="Strict", secure=flask.request.is_secure, max_age=7 * 86400
        )
        return response


def same(given: str, expected: str) -> bool:
    """Equal, in a time that does not tell how much of it is."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def _login_page(said: str) -> str:
    note = f"<p class='text warn'>{html.escape(said)}</p>" if said else ""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>scbig dashboard</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<link rel='stylesheet' href='/assets/page.css'></head><body><main class='login'><h1>scbig dashboard</h1>"
        f"{note}<form method='post' action='/login'><label>The token that 'scbig dashboard' printed"
        "<input type='password' name='token' autofocus autocomplete='current-password'></label>"
        "<button class='button'>Open</button></form></main></body></html>"
    )
