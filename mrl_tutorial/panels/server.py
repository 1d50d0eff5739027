"""The server's side of a quick panel: small messages to the browser are sent at once."""

from __future__ import annotations

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """A kernel's websocket without Nagle's algorithm, for `ServerApp.kernel_websocket_connection_class`.

    A slide is answered by a few small messages. By default the second waits until the browser has acknowledged the
    first, which browsers put off for 40 ms: much of what a reader waits for.
    """

    def connect(self) -> Any:
        """Connect, as the class above does."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()
