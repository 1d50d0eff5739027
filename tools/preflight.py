"""Before .venv is made: can this Python make one? Says in one line what is missing and how to get it.

Runs on any Python, so it keeps to syntax that an old one can read.
"""

import os
import shutil
import sys


def trouble(folder, min_free_gb):
    """The first thing that stands in the way, with its remedy; None when all is well."""
    version = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info < (3, 11):  # noqa: UP036 -- an older Python runs this file to be told so
        wish = "Python 3.11 or newer is needed, {} is {}: name another, e.g. make lab PYTHON=python3.12"
        return wish.format(sys.executable, version)
    missing = []
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            missing.append(module)
    if missing:
        return (
            "Python {} lacks {}: on Debian or Ubuntu run 'sudo apt-get install python{}-venv', elsewhere "
            "name a complete Python, e.g. make lab PYTHON=python3.12"
        ).format(version, " and ".join(missing), version)
    free = shutil.disk_usage(folder).free / 1e9
    if free < min_free_gb:
        low = (
            "{:.1f} GB free in {}, {:g} GB are needed: free some space, or take PyTorch's CPU wheels, which need 4 GB "
            "(TORCH_INDEX, see INSTALL.md), or set MIN_FREE_GB=0 to try all the same"
        )
        return low.format(free, folder, min_free_gb)
    return None


def default_gb(cpu_wheels):
    """GB of free disk to ask for: .venv takes 2.5 GB with PyTorch's CPU wheel and about 8 GB with the CUDA libraries
    that Linux gets by default; pip's own cache and temporary files take half as much again while installing."""
    return 4 if cpu_wheels or not sys.platform.startswith("linux") else 12


if __name__ == "__main__":
    wanted = os.environ.get("MIN_FREE_GB") or default_gb(bool(os.environ.get("TORCH_INDEX")))
    found = trouble(os.getcwd(), float(wanted))
    if found:
        sys.stderr.write(found + "\n")
        sys.exit(1)
