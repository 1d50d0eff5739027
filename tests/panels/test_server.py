"""The server's setting: the course's JupyterLab uses a connection that does not hold small messages back."""

from __future__ import annotations

import json
from pathlib import Path

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from traitlets.utils.importstring import import_item

from mrl_tutorial.panels.server import PromptConnection

CONFIG = Path(__file__).resolve().parents[2] / "jupyter" / "jupyter_lab_config.json"


def test_the_setting_names_the_class():
    named = json.loads(CONFIG.read_text())["ServerApp"]["kernel_websocket_connection_class"]
    assert import_item(named) is PromptConnection


def test_delay_is_off_before_the_connection_is_made(monkeypatch):
    order = []

    class Handler:
        def set_nodelay(self, value):
            order.append(("nodelay", value))

    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda self: order.append("connect") or "future")
    connection = PromptConnection.__new__(PromptConnection)
    connection._trait_values = {"websocket_handler": Handler()}
    assert connection.connect() == "future"
    assert order == [("nodelay", True), "connect"]
