"""What answers at an address: asked before Ray is, which would try for a minute and say little.

One call of Ray's own protocol. It is generated code, not documented API; a test holds it
against a real head.
"""

from __future__ import annotations

import os
from pathlib import Path

import grpc
import ray
from ray.core.generated.gcs_service_pb2 import CheckAliveRequest  # type: ignore[attr-defined]
from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

from scbig_dist.cluster.ray_token import find_token
from scbig_dist.errors import UserError

SECONDS = 4.0  # a user waits no more than five for an address that does not answer


def check_address(address: str) -> bool:
    """Whether the head at HOST:PORT asks for a token; a UserError where nothing could be run there."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(
            f"--address {address}: not an address; write HOST:PORT (the head's port is 6379), or 'auto' on a node"
        )
    version = _ask(address, None)
    with_token = version is None
    if with_token:
        token = find_token(os.environ, Path.home())
        if token is None:
            raise UserError(
                f"--address {address}: the head asks for a token; copy its own to ~/.ray/auth_token (mode 0600)"
            )
        version = _ask(address, token)
        if version is None:
            raise UserError(
                f"--address {address}: the token is not the head's; compare 'ray get-auth-token' here and there"
            )
    if version != ray.__version__:
        raise UserError(
            f"--address {address}: the cluster runs Ray {version}, this is {ray.__version__}; install the same on both"
        )
    return with_token


def _ask(address: str, token: str | None) -> str | None:
    """Ray's version at the address, or None where it does not take the token."""
    metadata = None if token is None else (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        try:
            answer = NodeInfoGcsServiceStub(channel).CheckAlive(CheckAliveRequest(), timeout=SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return None
            raise UserError(
                f"--address {address}: no Ray head answers there; is it up ('ray status' on it), "
                "and is this its own port (6379), not the dashboard's?"
            ) from None
    return answer.ray_version
