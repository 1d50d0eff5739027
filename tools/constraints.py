"""Write constraints.txt: the versions installed beside this Python of everything that pyproject.toml asks for.

    python -m tools.constraints constraints.txt        (make constraints)

A version that needs a newer Python than the oldest that we support carries a marker, so that pip is free there.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

OLDEST = 11  # Python 3.11


def closure(name: str) -> dict[str, str]:
    """Installed version by canonical name of everything that `name` needs, all its extras included, itself left out."""
    todo = [(name, frozenset(metadata.metadata(name).get_all("Provides-Extra") or ()))]
    seen: set[tuple[str, frozenset[str]]] = set()
    versions: dict[str, str] = {}
    while todo:
        item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        package, extras = item
        distribution = metadata.distribution(package)
        versions[canonicalize_name(package)] = distribution.version
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker and not any(requirement.marker.evaluate({"extra": e}) for e in extras | {""}):
                continue
            todo.append((requirement.name, frozenset(requirement.extras)))
    del versions[canonicalize_name(name)]
    return versions


def pin(name: str, version: str) -> str:
    """One line: the version without its local part (`+cpu`), with a marker where an older Python cannot have it."""
    needs = SpecifierSet(next(iter(metadata.metadata(name).get_all("Requires-Python") or ()), ""))
    oldest = next(minor for minor in range(OLDEST, 100) if f"3.{minor}.99" in needs)
    marker = f' ; python_version >= "3.{oldest}"' if oldest > OLDEST else ""
    return f"{name}=={version.split('+')[0]}{marker}"


def main(path: str) -> None:
    """Write the file."""
    lines = [pin(name, version) for name, version in sorted(closure("mrl-tutorial").items())]
    head = f"# The versions that the tests ran with (Python 3.{sys.version_info.minor}). Written by `make constraints`."
    Path(path).write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
