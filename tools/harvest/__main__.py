"""Read the documentation of the installed libraries and write the corpus to `data/pydocs/` (about a minute).

    python -m tools.harvest [folder]

The corpus depends on the libraries' versions alone. Those of the frozen one are in `data/pydocs/about.json`.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from joblib import Parallel, cpu_count, delayed

from mrl_tutorial import files
from mrl_tutorial.tasks.pydocs import fingerprint
from tools.harvest.assemble import assemble
from tools.harvest.docstrings import Record, read_sources
from tools.harvest.libraries import SourceFile, find_libraries, license_text, list_files

FOLDER = Path(__file__).resolve().parents[2] / "data" / "pydocs"
COMMAND = "python -m tools.harvest"


def harvest(sources: list[SourceFile], processes: int | None = None) -> list[Record]:
    """The records of all files, read in several processes (all cores), in a fixed order."""
    processes = processes or cpu_count()
    chunks = [sources[start :: 8 * processes] for start in range(8 * processes)]
    found = Parallel(n_jobs=processes)(delayed(read_sources)(chunk) for chunk in chunks)
    return sorted(record for records in found for record in records)


def write_corpus(folder: Path, rows: list[dict[str, Any]], versions: dict[str, str], licenses: dict[str, str]) -> None:
    """Write `corpus.jsonl.gz`, `licenses.txt.gz` and `about.json`, all or none. The same rows give the same bytes."""
    about = {
        "fingerprint": fingerprint(rows),
        "documents": len(rows),
        "splits": dict(Counter(row["split"] for row in rows)),
        "packages": dict(Counter(row["package"] for row in rows)),
        "versions": versions,
        "command": COMMAND,
    }
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with files.whole_folder(folder) as temporary:
        _write_gzip(temporary / "corpus.jsonl.gz", text)
        _write_gzip(
            temporary / "licenses.txt.gz", "\n".join(f"######## {name}\n\n{its}" for name, its in licenses.items())
        )
        files.write_json(temporary / "about.json", about)


def _write_gzip(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))  # no time: the same bytes every time


def main(folder: Path = FOLDER) -> None:
    libraries = find_libraries()
    sources = list_files(libraries)
    print(f"reading {len(sources):,} files of {len(libraries)} libraries", file=sys.stderr, flush=True)
    rows = assemble(harvest(sources))
    # "2.13.0+cpu" has the documentation of 2.13.0
    versions = {package: library.version.split("+")[0] for package, library in libraries.items()}
    write_corpus(folder, rows, versions, {package: license_text(package) for package in libraries})
    print(f"{len(rows):,} documents, fingerprint {fingerprint(rows)}, in {folder}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
