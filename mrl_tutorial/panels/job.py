"""Work in the background: one thread, progress, cancel. The kernel stays free to answer sliders meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import threading
from collections.abc import Callable
from typing import Any

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.panel import Panel

Report = Callable[[float, str], bool]
Work = Callable[[Report], Any]


class Job(threading.Thread):
    """Runs `work(report)` in a thread. report(share, label) -> False once the job was canceled.

    show(share, label) tells how far it is. ended(found) gets what work returned, the exception that it raised, or None
    where the job was canceled while it still rested, for `rest` seconds. Both are called on the kernel's event loop
    where there is one (a notebook), so that widgets change on one thread only; else (a script, a test) on the worker's.
    """

    def __init__(
        self, work: Work, show: Callable[[float, str], object], ended: Callable[[Any], object], rest: float = 0.0
    ) -> None:
        super().__init__(daemon=True, name="mrl-job")
        self._work, self._show, self._ended, self._rest = work, show, ended, rest
        self._canceled = threading.Event()
        self._newest: tuple[float, str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):  # of a plain script
            self._loop = asyncio.get_running_loop()
        self.running = True

    def cancel(self) -> None:
        """Ask the work to end at its next report; a job that still rests does not begin."""
        self._canceled.set()

    def run(self) -> None:
        """What the thread does."""
        try:
            found = None if self._canceled.wait(self._rest) else self._work(self._report)
        except Exception as error:  # a thread has nobody above it to raise to
            found = error
        self._post(self._finish, found)
        give_back()

    def _finish(self, found: Any) -> None:
        try:
            self._ended(found)
        finally:
            self.running = False

    def _report(self, share: float, label: str) -> bool:
        idle, self._newest = self._newest is None, (share, label)
        if idle:  # one message under way at a time: a busy kernel gets the newest state, not a queue of old ones
            self._post(self._show_newest)
        return not self._canceled.is_set()

    def _show_newest(self) -> None:
        newest, self._newest = self._newest, None
        if newest is not None:
            self._show(*newest)

    def _post(self, call: Callable[..., object], *args: Any) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)
        else:
            call(*args)


def give_back() -> None:
    """Return unused memory to the system: after a training, glibc keeps hundreds of MB."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library has no such call
        ctypes.CDLL(None).malloc_trim(0)


class WorkingPanel(Panel):
    """A panel that has one job at a time, and a Cancel button."""

    _job: Job | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None and self._job.running

    def check_free(self) -> None:
        """Raises InputError while a job is under way: training in a cell would get in its way."""
        if self.busy:
            raise InputError("the Train button is still at work: wait for it, or cancel it")

    def begin(self, work: Work, ended: Callable[[Any], object], rest: float = 0.0) -> None:
        """Start a `Job`, whose progress becomes the status. One that is replaced meanwhile is not heard any more."""

        def heard(call: Callable[..., object]) -> Callable[..., object]:
            return lambda *given: call(*given) if job is self._job else None

        job = self._job = Job(work, heard(self.progress), heard(ended), rest)
        job.start()  # a short one may have ended when this returns

    def progress(self, share: float, label: str) -> bool:
        """Show how far the job is; True, as a report answers where nobody can cancel."""
        self.status = {**self.status, "share": share, "label": label}  # an error stays until the next wish
        return True

    def on_cancel(self) -> None:
        """The Cancel button."""
        if self._job is not None:
            self._job.cancel()


def in_words(error: Exception) -> str:
    """What a reader is told of an error."""
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
