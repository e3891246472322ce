"""Where Ray looks for its token; no Ray is needed to ask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def find_token(environment: Mapping[str, str], home: Path) -> str | None:
    """The token that Ray would use, looked for where and in the order in which Ray looks."""
    if environment.get("RAY_AUTH_TOKEN"):
        return environment["RAY_AUTH_TOKEN"]
    path = Path(environment.get("RAY_AUTH_TOKEN_PATH") or home / ".ray" / "auth_token")
    return (path.read_text().strip() or None) if path.is_file() else None
