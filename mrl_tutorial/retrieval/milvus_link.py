"""A Milvus client that survives lost connections, and says in one line what else went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mrl_tutorial.errors import InputError

# errors of pymilvus and gRPC that mean: the connection is gone, and the same call may succeed later
_DROPPED = {"RpcError", "ConnectError", "MilvusUnavailableException", "ConnectionNotExistException"}
_DROPPED_CODES = {2, 14}  # pymilvus "fail connecting", gRPC UNAVAILABLE


class Link:
    """A client of the Milvus at `uri`, made when it is first needed, and again after it was lost.

    A call that fails because the connection was lost is tried `tries` times: after `wait` seconds, then after twice as
    long each time. connect: makes the client (None: pymilvus does).
    """

    def __init__(
        self, uri: str, token: str = "", *, tries: int = 5, wait: float = 0.5, connect: Callable[[], Any] | None = None
    ):
        self.uri, self.tries, self.wait = uri, max(1, tries), wait
        self._connect = connect or (lambda: load_pymilvus().MilvusClient(uri=uri, token=token))
        self._client: Any = None

    def close(self) -> None:
        """Give the connection back; the next call opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        """The result of the client's `method`, which must be one that may be repeated. Raises InputError where Milvus
        refuses, or does not answer by the last try."""
        reason = ""
        for attempt in range(self.tries):
            try:
                if self._client is None:
                    self._client = self._connect()
                return getattr(self._client, method)(*args, **options)
            except InputError:
                raise
            except Exception as error:
                reason = " ".join(str(getattr(error, "message", "") or error).split())[:200]
                if not _is_dropped(error):
                    raise InputError(f"Milvus at {self.uri} refused {method}: {reason}") from error
                self._client = None
                if attempt + 1 < self.tries:
                    time.sleep(self.wait * 2**attempt)
        raise InputError(
            f"Milvus at {self.uri} did not answer {self.tries} times ({reason}): make sure that it runs and that "
            "address and token are right, then repeat: a load goes on where it stopped"
        )


def _is_dropped(error: Exception) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & _DROPPED or "closed channel" in str(error):
        return True
    return "MilvusException" in kinds and getattr(error, "code", None) in _DROPPED_CODES


def load_pymilvus() -> Any:
    """The module. Raises InputError where it is not installed."""
    try:
        import pymilvus
    except ImportError as error:
        raise InputError('Milvus needs pymilvus: pip install "mrl-tutorial[milvus]"') from error
    return pymilvus
