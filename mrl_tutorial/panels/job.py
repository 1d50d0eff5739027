"""Work in the background: one thread, progress, cancel. The kernel stays free to answer sliders meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

Report = Callable[[float, str], bool]


class Job:
    """Runs `work(report)` in a thread. report(share, label) -> False once the job was canceled.

    rest: seconds to wait before the work begins; the result of a job that is canceled meanwhile is None.
    on_progress(share, label), on_done(result) and on_error(exception) are called on the kernel's event loop where there
    is one (a notebook), so that widgets change on one thread only; else (a script, a test) on the worker's thread.

    >>> found = []
    >>> Job(lambda report: 6 * 7, on_progress=print, on_done=found.append, on_error=print).start().wait(5), found
    (True, [42])
    """

    def __init__(
        self,
        work: Callable[[Report], Any],
        *,
        on_progress: Callable[[float, str], object],
        on_done: Callable[[Any], object],
        on_error: Callable[[Exception], object],
        rest: float = 0.0,
    ) -> None:
        self._rest = rest
        self._work, self._on_progress, self._on_done, self._on_error = work, on_progress, on_done, on_error
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._loop = running_loop()
        self._waiting: tuple[float, str] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="mrl-job")

    def start(self) -> Job:
        """Begin; returns itself."""
        self._thread.start()
        return self

    def cancel(self) -> None:
        """Ask the work to end at its next report; a job that still rests does not begin."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._stop.is_set()

    @property
    def running(self) -> bool:
        """Whether the job has been started and its last callback is still to come."""
        return self._thread.ident is not None and not self._ended.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until the work ended (not from a notebook's cell: its callbacks need the event loop)."""
        return self._ended.wait(seconds)

    def _run(self) -> None:
        try:
            result = None if self._stop.wait(self._rest) else self._work(self._report)
        except Exception as error:  # shown in the panel by on_error: a thread has nobody above it to raise to
            self._post(self._finish, self._on_error, error)
        else:
            self._post(self._finish, self._on_done, result)

    def _finish(self, callback: Callable[[Any], object], value: Any) -> None:
        try:
            callback(value)
        finally:
            self._ended.set()

    def _report(self, share: float, label: str) -> bool:
        fresh = self._waiting is None
        self._waiting = (share, label)
        if fresh:  # one message under way at a time: a busy kernel gets the newest state, not a queue of old ones
            self._post(self._show)
        return not self._stop.is_set()

    def _show(self) -> None:
        state, self._waiting = self._waiting, None
        if state is not None:
            self._on_progress(*state)

    def _post(self, call: Callable[..., object], *args: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)
        else:
            call(*args)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs this code (the kernel's, in a notebook), None in a plain script."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
