"""A real JupyterLab and a real Chromium, for the slider benchmark and the browser tests."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..chromium import REMEDY, find_chromium
from ..errors import InputError

CHROMIUM_ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
START_SECONDS = 90
PROMPT = "mrl_tutorial.lab.PromptConnection"
DEFAULT = "jupyter_server.services.kernels.connection.channels.ZMQChannelsWebsocketConnection"


@dataclass(frozen=True)
class Lab:
    """A running server. folder: what it serves."""

    url: str
    token: str
    folder: Path

    def notebook(self, name: str) -> str:
        """Address of a notebook in a workspace of its own, so that nothing else is open."""
        return f"{self.url}/lab/workspaces/{secrets.token_hex(4)}/tree/{name}?token={self.token}"


@contextlib.contextmanager
def lab_server(folder: str | Path, env: dict[str, str] | None = None, prompt: bool = True) -> Iterator[Lab]:
    """JupyterLab on a free port, serving `folder`; ended with all its kernels when the block ends.

    prompt: with the course's setting that sends small messages at once (`make lab` has it), else as Jupyter comes.

    Raises InputError with the end of its log where it does not come up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder, token = Path(folder).resolve(), secrets.token_hex(8)
    log = folder / "server.log"
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=",
        f"--ServerApp.kernel_websocket_connection_class={PROMPT if prompt else DEFAULT}",
    ]  # fmt: skip
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
    lab = Lab(f"http://127.0.0.1:{port}", token, folder)
    try:
        _await(lab, server, log)
        yield lab
    finally:
        server.terminate()  # the server ends its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _await(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{lab.url}/api/status?token={lab.token}", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    tail = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
    raise InputError(f"JupyterLab did not start within {START_SECONDS} s: {tail or 'it said nothing'}")


@contextlib.contextmanager
def chromium_page(width: int = 1400, height: int = 1500) -> Iterator:
    """A playwright page in headless Chromium. Raises InputError where playwright or a Chromium is missing."""
    path = find_chromium()
    if path is None:
        raise InputError(REMEDY)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("playwright is not installed: pip install 'mrl-tutorial[browser]'") from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_ARGS))
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


def write_notebook(path: str | Path, *cells: str) -> Path:
    """A notebook of code cells."""
    import nbformat

    path = Path(path)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    return path


def open_and_run(page, lab: Lab, name: str) -> None:
    """Open a notebook in JupyterLab and run all its cells; returns when the first runs (or has run)."""
    page.goto(lab.notebook(name), timeout=90_000)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=90_000)
    if page.locator('.jp-toast-button:text-is("No")').count():
        page.click('.jp-toast-button:text-is("No")')  # no news, thank you
    started = page.locator(".jp-Notebook .jp-InputPrompt").filter(has_text=re.compile(r"\[(\*|\d+)\]"))
    for _ in range(30):
        page.click('.lm-MenuBar-itemLabel:text-is("Run")')
        page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
        for _ in range(10):
            page.wait_for_timeout(200)
            if started.count():
                return
            # the indicator may say idle before the kernel is connected: then "Run" asks which kernel to take
            if page.locator(".jp-Dialog").count():
                page.click(".jp-Dialog button.jp-mod-accept")
                break
    raise InputError(f"{name} did not begin to run in JupyterLab: see {lab.folder / 'server.log'}")
