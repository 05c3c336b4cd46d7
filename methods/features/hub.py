"""Model hubs: ask them only when they can be reached, and tell "no network" from a real failure."""

from __future__ import annotations

import contextlib
import os
import socket
import urllib.error
import warnings
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlsplit

#: How long the one check for the hub may take, in seconds.
TIMEOUT = 3.0

#: Names of errors by which the hub libraries say that they got no connection and have no local copy. By name,
#: because their classes moved between packages and versions.
_NO_NETWORK = {
    "ConnectError",
    "ConnectTimeout",
    "ConnectionError",
    "LocalEntryNotFoundError",
    "NameResolutionError",
    "OfflineModeIsEnabled",
    "ProxyError",
}


@cache
def hub_is_reachable() -> bool:
    """Whether the Hugging Face hub answers, asked once a process.

    With a proxy in the environment this says yes: only the hub libraries themselves can tell then.
    """
    import huggingface_hub.constants

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    address = urlsplit(huggingface_hub.constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=TIMEOUT):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def hub_access() -> Iterator[None]:
    """Let hub libraries look into their local cache only, if the hub can't be reached.

    Without this each file that is missing costs about 45 seconds of retries.
    """
    import huggingface_hub.constants

    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = before or not hub_is_reachable()
    try:
        with warnings.catch_warnings():  # between versions of diffusers and the hub's library, no matter for users
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks")
            yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before


def no_network(error: BaseException) -> bool:
    """Whether ``error``, or an error that led to it, says that something could not be fetched for lack of network."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (socket.gaierror, urllib.error.URLError)) or type(seen).__name__ in _NO_NETWORK:
            return True
        seen = seen.__cause__ or seen.__context__
    return False
