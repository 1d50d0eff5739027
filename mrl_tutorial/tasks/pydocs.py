"""pydocs, the text task that every reader already has: the documentation of the scientific Python libraries installed.

Query = the first sentence of a docstring, document = the rest of its prose, labels = package and module. The files are
parsed, never imported; the result depends on the libraries' versions alone, and is cached under them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks import docstrings
from mrl_tutorial.tasks.prose import normal

VERSION = 3  # of the harvest: a change to what is read or how it is cut counts one up
CAP = 700  # documents a library, so that none is the whole corpus
MIN_CLASS = 25  # a module with fewer documents joins its parent
# import name -> (distribution, folders and files of it that are not documentation a reader would look for)
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
_NEVER = {
    "tests",
    "test",
    "testing",
    "_testing",
    "testing.py",
    "conftest.py",
    "testing_utils.py",
    "externals",
    "vendored",
    "_vendor",
    "node_modules",
}


@dataclass(frozen=True)
class PyDocs:
    """The harvest, one entry a document: parallel lists of equal length, ordered by name."""

    names: list[str]
    packages: list[str]
    modules: list[str]
    queries: list[str]
    documents: list[str]
    splits: list[str]  # "train", "dev" or "test": where the document's query belongs
    versions: dict[str, str]
    missing: list[str]
    fingerprint: str

    def __str__(self) -> str:
        return (
            f"pydocs: {len(self.names):,} documents of {len(self.versions)} libraries, fingerprint {self.fingerprint}"
        )


def load_pydocs(progress: Callable[[int, int, str], object] | None = None, processes: int | None = None) -> PyDocs:
    """The harvest of the installed libraries, from the cache or read now (`processes` at once, default all cores).

    Raises InputError where none of the libraries is installed.
    """
    found = find_libraries()
    if not found:
        raise InputError(
            "pydocs: none of its libraries is installed; install the package with its requirements (pip install .)"
        )
    versions = {package: version for package, (version, _) in found.items()}
    path = files.cache_dir("pydocs") / f"{files.key(VERSION, CAP, MIN_CLASS, versions)}.json"
    try:
        return PyDocs(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pass  # none yet, or not one of ours: read again
    begun = time.perf_counter()
    if progress is None:
        print(
            f"pydocs: reading the documentation of {len(found)} libraries (once, less than a minute)",
            file=sys.stderr,
            flush=True,
        )
    docs = assemble(harvest(list_files(found), progress, processes), versions)
    files.write_json(path, docs.__dict__)
    if progress is None:
        print(f"{docs}, {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    return docs


def find_libraries() -> dict[str, tuple[str, Path]]:
    """Import name -> (version, folder) of the libraries that are installed; none is imported."""
    found = {}
    for package, (distribution, _) in LIBRARIES.items():
        try:
            spec = importlib.util.find_spec(package)
            version = importlib.metadata.version(distribution)
        except (importlib.metadata.PackageNotFoundError, ImportError, ValueError):
            continue
        if spec and spec.submodule_search_locations:
            found[package] = (version, Path(next(iter(spec.submodule_search_locations))))
    return found


def list_files(found: dict[str, tuple[str, Path]]) -> list[tuple[str, str, str, int]]:
    """(package, root, file, bytes) of every source file that is read, in a fixed order."""
    files = []
    for package, (_, root) in found.items():
        skipped = LIBRARIES[package][1]
        for folder, names, leaves in os.walk(root):
            here = Path(folder).relative_to(root)
            names[:] = sorted(name for name in names if name not in _NEVER and not _matches(here / name, skipped))
            for leaf in sorted(leaves):
                if leaf.endswith(".py") and leaf not in _NEVER and not leaf.startswith("test_"):
                    size = (Path(folder) / leaf).stat().st_size
                    if size < 1_500_000:
                        files.append((package, str(root), (here / leaf).as_posix(), size))
    return files


def _matches(folder: Path, patterns: Iterable[str]) -> bool:
    return any(
        folder.match(pattern.rstrip("/")) and len(folder.parts) == pattern.rstrip("/").count("/") + 1
        for pattern in patterns
    )


def harvest(
    files: Sequence[tuple[str, str, str, int]],
    progress: Callable[[int, int, str], object] | None = None,
    processes: int | None = None,
) -> list[list[str]]:
    """Records [name, module, package, query, document] of the files, read in several processes, in a fixed order."""
    processes = processes or max(2, min(8, os.cpu_count() or 2))
    chunks: list[list[tuple[str, str, str]]] = [[] for _ in range(4 * processes)]
    sizes = [0] * len(chunks)
    for package, root, name, size in sorted(
        files, key=lambda file: -file[3]
    ):  # the largest first: chunks of equal size
        lightest = sizes.index(min(sizes))
        chunks[lightest].append((package, root, name))
        sizes[lightest] += size
    records = []
    with ThreadPoolExecutor(processes) as pool:
        for done, result in enumerate(pool.map(_read_elsewhere, chunks), start=1):
            records += result
            if progress:
                progress(done, len(chunks), "pydocs")
    return sorted(records)


def _read_elsewhere(chunk: list[tuple[str, str, str]]) -> list[list[str]]:
    """Read the files in a process of their own: a plain program, which needs no `__main__` guard in the caller."""
    home = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.append({home!r}); from mrl_tutorial.tasks.docstrings import main; main()"
    command = [sys.executable, "-I", "-W", "ignore", "-X", "utf8", "-c", code]
    try:
        answer = subprocess.run(command, input=json.dumps(chunk).encode(), capture_output=True, check=True)
        return json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):  # no processes to be had: slower, and the same
        return docstrings.read_sources(chunk)


def assemble(records: Sequence[Sequence[str]], versions: dict[str, str]) -> PyDocs:
    """Duplicates dropped, libraries capped, modules merged, queries split: the harvest as a task needs it."""
    seen: set[str] = set()
    kept: dict[str, Sequence[str]] = {}
    for record in sorted(records, key=lambda record: (record[0].count("."), *record)):  # the shortest name stays
        name, _, _, query, document = record
        texts = normal(query), normal(document)
        if name not in kept and not seen.intersection(texts):
            kept[name] = record
        seen.update(texts)  # inherited docstrings repeat a query, a document or both
    rank = {name: _fraction(name) for name in kept}
    counts: Counter[str] = Counter()
    chosen = []
    for name in sorted(kept, key=lambda name: rank[name]):  # a sample by hash: the same on every machine
        counts[kept[name][2]] += 1
        if counts[kept[name][2]] <= CAP:
            chosen.append(name)
    names = sorted(chosen)
    modules, packages, queries, documents = ([kept[name][column] for name in names] for column in (1, 2, 3, 4))
    groups = near_duplicate_groups([queries, documents, [f"{q} {d}" for q, d in zip(queries, documents, strict=True)]])
    first: dict[int, str] = {}
    for name, group in zip(names, groups, strict=True):
        first.setdefault(group, name)
    splits = [split_of(f"split {first[group]}", dev=0.1, test=0.2) for group in groups]
    merged = merge_rare(modules, packages, MIN_CLASS)
    fingerprint = files.key(names, merged, queries, documents, splits)
    missing = [package for package in LIBRARIES if package not in versions]
    return PyDocs(names, packages, merged, queries, documents, splits, dict(versions), missing, fingerprint)


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_of(text: str, dev: float, test: float) -> str:
    """The split of an item by the hash of its text: the first `test` of [0, 1), then `dev`, then train."""
    place = _fraction(text)
    return "test" if place < test else "dev" if place < test + dev else "train"


def merge_rare(modules: Sequence[str], packages: Sequence[str], least: int) -> list[str]:
    """Fine labels: at most three dotted parts; a label with fewer than `least` documents joins its parent, and a
    package with fewer the label "other"."""
    labels = [".".join(module.split(".")[:3]) for module in modules]
    for parts in (3, 2):
        counts = Counter(labels)
        labels = [
            label.rsplit(".", 1)[0] if label.count(".") == parts - 1 and counts[label] < least else label
            for label in labels
        ]
    counts = Counter(labels)
    return ["other" if counts[label] < least else label for label in labels]


def near_duplicate_groups(columns: Sequence[Sequence[str]], threshold: float = 0.7) -> list[int]:
    """Group number of each item: items whose sets of words have Jaccard similarity > `threshold` in any of the columns
    are in one group, and so is what they chain to. Exact: prefix filtering (Chaudhuri et al. 2006), then verified."""
    parent = list(range(len(columns[0])))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for texts in columns:
        for left, right in similar_pairs([frozenset(normal(text).split()) for text in texts], threshold):
            parent[max(root(left), root(right))] = min(root(left), root(right))
    return [root(item) for item in range(len(parent))]


def similar_pairs(sets: Sequence[frozenset[str]], threshold: float) -> list[tuple[int, int]]:
    """All pairs of items with Jaccard similarity > `threshold` (empty sets are similar to nothing)."""
    counts = Counter(word for words in sets for word in words)
    holders: dict[str, list[int]] = defaultdict(list)
    pairs = []
    for item in sorted(range(len(sets)), key=lambda item: len(sets[item])):
        words = sorted(sets[item], key=lambda word: (counts[word], word))
        # two sets this similar share one of their first n - floor(threshold n) rarest words
        prefix = words[: len(words) - int(threshold * len(words) + 1e-9)]
        least = threshold * len(words)  # a smaller set cannot be that similar
        for other in {other for word in prefix for other in holders[word] if len(sets[other]) >= least}:
            common = len(sets[item] & sets[other])
            if common > threshold * (len(words) + len(sets[other]) - common) + 1e-9:
                pairs.append((min(item, other), max(item, other)))
        for word in prefix:
            holders[word].append(item)
    return pairs
