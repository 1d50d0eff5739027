"""Build the notebooks: source/NN_name.py -> NN_name.ipynb, executed, with static pictures. Lessons are in notebooks,
what settles the ledger's claims in notebooks/evidence.

    python -m tools.build_notebooks                      every notebook, at full budget        (make notebooks)
    python -m tools.build_notebooks --only 01 --only E3  some of them
    FAST=1 python -m tools.build_notebooks --out DIR     small budgets, for CI; never over the committed ones
    python -m tools.build_notebooks --check              do the committed notebooks agree with their sources?

The sources are in jupytext's percent format. A notebook is written only when all its cells ran.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from mrl_tutorial.files import whole_file
from notebooks.evidence import ledger_rows
from tools.chromium import REMEDY, find_chromium
from tools.photographs import PICTURE_WIDTH, photographs, smaller

HERE = Path(__file__).resolve().parents[1] / "notebooks"
PAGES = HERE.parent / "build" / "panels"  # folder of the notebooks -> notebook -> its panels, alive: for the site
MAX_BYTES = 1_000_000
CELL_SECONDS = 600
WIDGET = "application/vnd.jupyter.widget-view+json"
LIVE = "(a live panel: run this cell to use it)"
BAR = re.compile(r"\d+%\|")  # a progress bar of tqdm
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def sources(only: list[str] | None = None, *, evidence: bool = False) -> list[Path]:
    """The lessons' source files, in order, with `evidence` those of the evidence notebooks after them; `only` names
    some by the start of their name."""
    found = sorted((HERE / "source").glob("[0-9][0-9]_*.py"))
    if evidence:
        found += sorted((HERE / "evidence" / "source").glob("E[0-9]_*.py"))
    for start in only or ():
        if not any(p.name.startswith(start) for p in found):
            sys.exit(f"no notebook starts with {start!r}: there are {', '.join(p.stem for p in found) or 'none'}")
    return [p for p in found if not only or p.name.startswith(tuple(only))]


def read(source: Path) -> nbformat.NotebookNode:
    """The notebook of a source file, without outputs. A cell's id is a hash of its text, so ids never depend on
    chance, nor on the cells before it."""
    notebook = jupytext.read(source, fmt="py:percent")
    used: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        used[digest] = used.get(digest, 0) + 1
        cell.id = digest if used[digest] == 1 else f"{digest}-{used[digest]}"
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if not k.startswith("lines_to")})
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def built(source: Path, out: Path) -> Path:
    """Where the notebook of a source lies below the folder `out`: evidence has a folder of its own there."""
    return out / source.parent.parent.relative_to(HERE) / f"{source.stem}.ipynb"


def execute(notebook: nbformat.NotebookNode, pages: Path, folder: Path) -> dict[str, float]:
    """Run every cell, in place, as if the notebook lay in `folder`; panels write themselves to the folder `pages`.

    Returns `minutes`, `peak_gb` of the kernel (0 where the system does not tell) and `slowest`, the seconds of the
    slowest cell. Raises what the failing cell raised.
    """
    # static pictures as wide as a notebook's column, where plotly would take 700 points
    with tempfile.TemporaryDirectory() as home:
        startup = Path(home) / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "00-width.py").write_text(f"import plotly.io\nplotly.io.defaults.default_width = {PICTURE_WIDTH}\n")
        return _run(notebook, {**os.environ, "IPYTHONDIR": home, "MRL_PANEL_PAGES": str(pages)}, folder)


def _run(notebook: nbformat.NotebookNode, env: dict[str, str], folder: Path) -> dict[str, float]:
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--log-level=ERROR"],
    )
    marks = [time.perf_counter()]
    with client.setup_kernel(env=env):
        for index, cell in enumerate(notebook.cells):
            marks.append(time.perf_counter())
            client.execute_cell(cell, index)
        marks.append(time.perf_counter())
        assert client.km is not None  # setup_kernel has made it
        peak = _peak_gb(getattr(client.km.provisioner, "pid", 0))
    slowest = max((b - a for a, b in pairwise(marks[1:])), default=0.0)
    return {"minutes": (marks[-1] - marks[0]) / 60, "peak_gb": peak, "slowest": slowest}


def clean(notebook: nbformat.NotebookNode, pictures: dict[str, str] | None = None) -> list[str]:
    """Take out, in place, what a reader cannot use or what changes from run to run: widget state, progress bars,
    execution times. Returns what the cells wrote to the error stream, for a person to look at.

    pictures: of panels, by what stands as text in their place, as `photographs` gives them.
    """
    noise: list[str] = []
    pictures = pictures or {}
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        kept = []
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = "".join(x for x in output.text.splitlines(keepends=True) if not BAR.search(x))
                if output.name == "stderr" and output.text.strip():
                    noise.append(output.text.strip())
                if not output.text.strip():
                    continue
            elif WIDGET in output.get("data", {}):
                del output.data[WIDGET]
                if BAR.search(output.data.get("text/plain", "")):
                    continue
                if picture := pictures.get(output.data.get("text/plain", "").strip("'")):
                    output.data["image/png"] = picture
                output.data["text/plain"] = LIVE
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])
            kept.append(output)
        cell.outputs = kept
    return noise


def problems(source: Path, notebook: Path) -> list[str]:
    """Why `notebook` is not what `source` would give: one line each, none when they agree."""
    if not notebook.exists():
        return [f"{notebook.name} is missing: make notebooks"]
    want, have = read(source), nbformat.read(notebook, as_version=4)
    found = []
    for i, (w, h) in enumerate(zip(want.cells, have.cells, strict=False)):
        if (w.cell_type, w.source, w.id, dict(w.metadata)) != (h.cell_type, h.source, h.id, dict(h.metadata)):
            found.append(f"{notebook.name}: cell {i} ({w.id}) is not that of {source.name}: make notebooks")
            break
    if len(want.cells) != len(have.cells):
        found.append(f"{notebook.name} has {len(have.cells)} cells, {source.name} {len(want.cells)}: make notebooks")
    if have.metadata != want.metadata:
        found.append(f"{notebook.name}: metadata differ (saved by hand from JupyterLab?): make notebooks")
    code = [c for c in have.cells if c.cell_type == "code" and c.source.strip()]
    if [c.execution_count for c in code] != list(range(1, len(code) + 1)):
        found.append(f"{notebook.name} was not executed from top to bottom: make notebooks")
    for cell in code:
        meant = "raises-exception" in cell.metadata.get("tags", [])
        if any(o.output_type == "error" for o in cell.outputs) and not meant:
            found.append(f"{notebook.name}: cell {cell.id} ended in an error")
        if any(WIDGET in o.get("data", {}) for o in cell.outputs):
            found.append(f"{notebook.name}: cell {cell.id} holds a widget without its state: make notebooks")
    big = too_big(notebook.name, notebook.stat().st_size)
    return [*found, big] if big else found


def too_big(name: str, size: int) -> str | None:
    """A line that says so when `size` bytes are over the limit."""
    return f"{name} is {size / 1e6:.2f} MB, the limit is {MAX_BYTES / 1e6:.0f} MB" if size > MAX_BYTES else None


def build(source: Path, out: Path) -> str | None:
    """Execute one notebook, write it to the folder `out`, print its row. Returns what went wrong, None if nothing."""
    notebook = read(source)
    ledger_rows.forget(source.name[:2])
    pages = PAGES / out.resolve().name / source.stem
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    try:
        cost = execute(notebook, pages, source.parent.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return f"{source.name} was not written: a cell failed\n{ANSI.sub('', str(error))}"
    noise = clean(notebook, photographs(pages))
    text = nbformat.writes(notebook) + "\n"
    path = built(source, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if out.resolve() == HERE:
        ledger_rows.collect(source.name[:2], HERE.parent / "data" / "ledger.csv")
    size = len(text.encode())
    print(
        f"{source.stem:<28}{cost['minutes']:>9.2f}{cost['slowest']:>11.1f}{cost['peak_gb']:>10.2f}{size / 1000:>9.0f}",
        flush=True,
    )
    for line in noise:
        print(f"  wrote to stderr: {line[:300]}", flush=True)
    return too_big(path.name, size)


def _peak_gb(pid: int) -> float:
    """Peak resident memory of a process in GB; 0 where the system does not tell."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1e6 if found else 0.0


def with_pictures() -> bool:
    """Have plotly draw a static picture of every figure, if a Chromium is there; else say how to get one."""
    browser = find_chromium()
    if browser:
        os.environ.setdefault("BROWSER_PATH", browser)  # where kaleido looks
        os.environ["PLOTLY_RENDERER"] = "plotly_mimetype+png"
        return True
    print(f"{REMEDY}\nwithout one the notebooks have no static pictures of their figures", file=sys.stderr)
    os.environ["PLOTLY_RENDERER"] = "plotly_mimetype"
    return False


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 when every notebook was built (or agrees), 1 otherwise."""
    fast = os.environ.get("FAST") == "1"
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", action="append", metavar="NN", help="start of a notebook's name; may be repeated")
    p.add_argument("--out", type=Path, help="folder to write to (default: notebooks; with FAST=1 build/notebooks-fast)")
    p.add_argument("--check", action="store_true", help="build nothing, compare the notebooks with their sources")
    args = p.parse_args(argv)
    chosen = sources(args.only, evidence=True)
    if args.check:
        found = [line for source in chosen for line in problems(source, built(source, HERE))]
        print("\n".join(found) if found else f"{len(chosen)} notebooks agree with their sources")
        return 1 if found else 0
    out = args.out or (HERE.parent / "build" / "notebooks-fast" if fast else HERE)
    if fast and out.resolve() == HERE:
        sys.exit("FAST=1 gives shrunken results: choose another folder than notebooks/ with --out")
    if not with_pictures() and out.resolve() == HERE:
        return 1
    print(f"{'notebook':<28}{'minutes':>9}{'slowest s':>11}{'peak GB':>10}{'kB':>9}", flush=True)
    failed = [line for line in (build(source, out) for source in chosen) if line]
    print("\n".join(failed) if failed else f"built in {out}: {len(chosen)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
