"""The libraries whose documentation pydocs holds: where they are installed, which files are read, their licenses."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mrl_tutorial.errors import InputError

LONGEST = 1_500_000  # bytes of a source file that is read
# import name -> (distribution, folders of it that are not documentation a reader would look for)
LIBRARIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "numpy": ("numpy", ("distutils", "f2py", "_pyinstaller")),
    "scipy": ("scipy", ("_lib",)),
    "sklearn": ("scikit-learn", ()),
    "pandas": ("pandas", ()),
    "torch": ("torch", ("_[!t]*/", "utils/hipify", "fx/experimental", "distributed/_*", "onnx/_*", "ao/ns")),
    "networkx": ("networkx", ()),
    "sympy": ("sympy", ("parsing/latex/_antlr", "parsing/autolev/_antlr")),
    "transformers": ("transformers", ("models",)),
    "datasets": ("datasets", ()),
    "huggingface_hub": ("huggingface-hub", ("cli", "inference/_generated")),
    "plotly": ("plotly", ("graph_objs", "validators", "validator_cache")),
    "IPython": ("ipython", ()),
    "joblib": ("joblib", ()),
    "jinja2": ("jinja2", ()),
    "fsspec": ("fsspec", ()),
}
_TESTS = {"tests", "test", "testing", "_testing", "testing.py", "conftest.py", "testing_utils.py"}
NEVER_READ = _TESTS | {"externals", "vendored", "_vendor", "node_modules"}
# parts of a license's path that name compiled code, of which the corpus holds no text
COMPILED = {"third_party", "src", "include", "subprojects", "lapack_lite", "pocketfft"}


class Library(NamedTuple):
    """An installed library: its version and the folder of its sources."""

    version: str
    root: Path


class SourceFile(NamedTuple):
    """A source file of a library, by its path in the library's folder."""

    package: str
    root: Path
    relative: Path


def find_installed(package: str) -> Library | None:
    """The library of that import name, if it is installed; it is not imported."""
    spec = importlib.util.find_spec(package)
    if not spec or not spec.submodule_search_locations:
        return None
    root = Path(next(iter(spec.submodule_search_locations)))
    return Library(importlib.metadata.version(LIBRARIES[package][0]), root)


def find_libraries() -> dict[str, Library]:
    """Import name -> library. Raises InputError naming those that are not installed."""
    found = {package: find_installed(package) for package in LIBRARIES}
    if missing := [LIBRARIES[package][0] for package, library in found.items() if library is None]:
        remedy = "pip install them in the versions of data/pydocs/about.json"
        raise InputError(f"not installed: {', '.join(missing)}; {remedy}")
    return {package: library for package, library in found.items() if library}


def list_files(libraries: dict[str, Library]) -> list[SourceFile]:
    """Every source file that is read, in a fixed order; tests and vendored code are left out."""
    files = []
    for package, (_, root) in libraries.items():
        skipped = LIBRARIES[package][1]
        for folder, names, leaves in os.walk(root):
            here = Path(folder).relative_to(root)
            names[:] = sorted(name for name in names if name not in NEVER_READ and not _matches(here / name, skipped))
            for leaf in sorted(leaves):
                wanted = leaf.endswith(".py") and leaf not in NEVER_READ and not leaf.startswith("test_")
                if wanted and (Path(folder) / leaf).stat().st_size < LONGEST:
                    files.append(SourceFile(package, root, here / leaf))
    return files


def _matches(folder: Path, patterns: Iterable[str]) -> bool:
    depths = ((pattern.rstrip("/"), pattern.rstrip("/").count("/") + 1) for pattern in patterns)
    return any(folder.match(pattern) and len(folder.parts) == depth for pattern, depth in depths)


def license_text(package: str) -> str:
    """The license files of a library's distribution, one after the other, each under its path, without those of
    compiled code. Raises InputError where there are none."""
    distribution = importlib.metadata.distribution(LIBRARIES[package][0])
    texts = []
    for file in sorted(distribution.files or (), key=str):
        named = file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE")) or "LICENSES" in file.parts
        if named and file.parts[0].endswith(".dist-info") and not COMPILED & set(file.parts):
            name = "/".join(part for part in file.parts[1:] if part != "licenses")
            texts.append(f"==== {name}\n\n{file.read_text(encoding='utf-8').strip()}\n")
    if not texts:
        raise InputError(f"{package}: its distribution has no license file; add its license by hand")
    return "\n".join(texts)
