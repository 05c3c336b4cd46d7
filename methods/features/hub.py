"""Access to model hubs only if they can be reached, and recognition of errors that mean "no network"."""

from __future__ import annotations

import contextlib
import os
import socket
import urllib.error
import warnings
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlsplit

#: Time limit of the single check for the hub, in seconds.
TIMEOUT = 3.0

#: Names of the hub libraries' errors for a missing connection without a local copy. Names are used because the classes
#: moved between packages and versions.
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
    """Whether the Hugging Face hub answers, tested once per process.

    With a proxy in the environment this returns true, because only the hub libraries can find out then.
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
    """Restrict hub libraries to their local cache if the hub can't be reached.

    Without this, each missing file costs about 45 seconds of retries.
    """
    import huggingface_hub.constants

    before = huggingface_hub.constants.HF_HUB_OFFLINE
    huggingface_hub.constants.HF_HUB_OFFLINE = before or not hub_is_reachable()
    try:
        with warnings.catch_warnings():  # concerns versions of diffusers and the hub's library, not users
            warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks")
            yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before


def no_network(error: BaseException) -> bool:
    """Whether ``error``, or one of its causes, means that a download failed for lack of network."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (socket.gaierror, urllib.error.URLError)) or type(seen).__name__ in _NO_NETWORK:
            return True
        seen = seen.__cause__ or seen.__context__
    return False
