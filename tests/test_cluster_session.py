"""Addresses and tokens: what is wrong is said before Ray is asked."""

from __future__ import annotations

import socket
import time

import pytest

from scbig_dist.cluster.ray_token import find_token
from scbig_dist.cluster.session import _protect_token, ray_session
from scbig_dist.errors import UserError


def refused(address: str) -> str:
    began = time.monotonic()
    with pytest.raises(UserError) as error, ray_session(address):
        pass
    assert time.monotonic() - began < 5
    assert address in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def test_an_address_that_does_not_answer_is_named_within_five_seconds():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert "no Ray head answers" in refused(address)
    assert "no Ray head answers" in refused("192.0.2.1:6379")  # a block that is never assigned


@pytest.mark.parametrize("address", ["head", "head:gcs", ":6379"])
def test_text_that_is_no_address(address):
    assert "not an address" in refused(address)


def test_ray_client_is_refused():
    assert "Ray Client" in refused("ray://127.0.0.1:10001")


def test_a_port_where_something_else_listens():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert "no Ray head answers" in refused(f"127.0.0.1:{server.getsockname()[1]}")


def test_auto_where_no_ray_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("scbig_dist.cluster.session.canonicalize_bootstrap_address", lambda *_: None)
    assert "no Ray runs on this machine" in refused("auto")


def test_token_is_looked_for_where_ray_looks(tmp_path):
    assert find_token({}, tmp_path) is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("of home\n")
    assert find_token({}, tmp_path) == "of home"
    (tmp_path / "token").write_text("of a path")
    assert find_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}, tmp_path) == "of a path"
    assert find_token({"RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")}, tmp_path) is None
    both = {"RAY_AUTH_TOKEN": "given", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
    assert find_token(both, tmp_path) == "given"


def test_token_file_is_for_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".ray" / "auth_token"
    _protect_token()
    token = path.read_text()
    assert len(token) == 64 and path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    _protect_token()
    assert path.stat().st_mode & 0o777 == 0o600 and path.read_text() == token
