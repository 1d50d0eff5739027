"""A real JupyterLab and a real Chromium, for the panels' benchmark and the browser tests."""

from __future__ import annotations

import contextlib
import json
import os
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
from typing import TYPE_CHECKING

from mrl_tutorial.errors import InputError
from tools.chromium import REMEDY, find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS = 90


@dataclass(frozen=True)
class Lab:
    """A running server. folder: what it serves. app: "jupyterlab", or "notebook" for Notebook 7."""

    url: str
    token: str
    folder: Path
    app: str = "jupyterlab"

    def notebook(self, name: str) -> str:
        """Address of a notebook in a workspace of its own, so that nothing else is open."""
        place = "notebooks" if self.app == "notebook" else f"lab/workspaces/{secrets.token_hex(4)}/tree"
        return f"{self.url}/{place}/{name}?token={self.token}"

    def connected(self, name: str) -> bool:
        """Whether the kernel of notebook `name` is idle and a browser listens to it.

        Sessions are asked, not kernels: one is listed only once its kernel has started, while the list of kernels
        answers with an error at the moment in which a kernel is known and its state is not.
        """
        with urllib.request.urlopen(f"{self.url}/api/sessions?token={self.token}", timeout=10) as answer:
            kernels = [session["kernel"] for session in json.load(answer) if session["path"] == name]
        return any(k["execution_state"] == "idle" and k["connections"] for k in kernels)


@contextlib.contextmanager
def lab_server(folder: str | Path, env: dict[str, str] | None = None, app: str = "jupyterlab") -> Iterator[Lab]:
    """JupyterLab (or Notebook 7, app "notebook") on a free port, serving `folder`; ended with its kernels afterwards.

    Raises InputError with the end of its log where it does not come up.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder, token = Path(folder).resolve(), secrets.token_hex(8)
    log = folder / "server.log"
    command = [
        sys.executable,
        "-m",
        app,
        "--no-browser",
        "--allow-root",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={token}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=",
    ]
    # server and kernels import this very package and the helpers of the lessons, also where neither is installed
    root = Path(__file__).resolve().parents[1]
    here = os.pathsep.join([str(root), str(root / "notebooks"), *filter(None, [os.environ.get("PYTHONPATH")])])
    with log.open("w") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": here, **(env or {})}
        )
    lab = Lab(f"http://127.0.0.1:{port}", token, folder, app)
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
def chromium_page(width: int = 1400, height: int = 1500) -> Iterator[Page]:
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


def open_notebook(page: Page, lab: Lab, name: str) -> None:
    """Open a notebook of the server and wait for its kernel.

    Raises InputError where the kernel does not come up.
    """
    page.goto(lab.notebook(name), timeout=90_000)
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=90_000)
    deadline = time.monotonic() + START_SECONDS
    while not lab.connected(name):  # "Run" before that would ask which kernel to take
        if time.monotonic() > deadline:
            raise InputError(f"no kernel for {name} within {START_SECONDS} s: see {lab.folder / 'server.log'}")
        page.wait_for_timeout(200)
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=90_000)
    page.wait_for_timeout(1000)
    if page.locator('.jp-toast-button:text-is("No")').count():
        page.click('.jp-toast-button:text-is("No")')  # no news, thank you


def open_and_run(page: Page, lab: Lab, name: str) -> None:
    """Open a notebook in JupyterLab, wait for its kernel, and run all its cells (does not wait for them to end)."""
    open_notebook(page, lab, name)
    page.click('.lm-MenuBar-itemLabel:text-is("Run")')
    page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')


def run_cell(page: Page, number: int) -> None:
    """Run cell `number` of an open notebook, from 0, which has not run yet (does not wait for it to end).

    A page that is still being built may lose Shift+Enter, so it is pressed again until the prompt shows that the
    page has sent it. Raises InputError where it never does.
    """
    cell = page.locator(".jp-Cell").nth(number)
    for _ in range(6):
        cell.click()
        page.keyboard.press("Shift+Enter")
        for _ in range(50):
            if "[ ]" not in cell.locator(".jp-InputPrompt").inner_text():
                return
            page.wait_for_timeout(100)
    raise InputError(f"cell {number} did not run: its prompt is still empty after Shift+Enter was pressed six times")


def wait_for(page: Page, selector: str, seconds: float) -> None:
    """Wait until `selector` is on the page. Raises InputError with its last line when a cell ends in an error first."""
    failed = '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]'
    page.wait_for_selector(f"{selector}, {failed}", state="attached", timeout=seconds * 1000)
    if page.locator(failed).count():
        words = page.locator(failed).first.text_content() or ""
        raise InputError(f"a cell failed: {words.strip().splitlines()[-1]}")
