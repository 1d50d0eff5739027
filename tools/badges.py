"""Write the repository's address into README and notebooks: Binder and Colab badges, and Colab's first cell.

    python -m tools.badges owner/name [branch]     (make badges REPO=owner/name)

Sources and built notebooks are changed alike, outputs stay. Run again for another address.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat

from tools import build_notebooks as build

ROOT = Path(__file__).resolve().parents[1]
REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
BADGES = re.compile(r"(# )?\[!\[Binder\].*\n")
SETUP = re.compile(r'^# %% tags=\["setup"\]\n.*?(?=^# %%)', re.S | re.M)
CELL = """# %% tags=["setup"]
# On Colab: fetch and install the course, switch its widgets on. Anywhere else this cell does nothing.
import sys

if "google.colab" in sys.modules:
    import os
    import subprocess

    from google.colab import output

    repository, folder = "{address}", "/content/course"
    if not os.path.isdir(folder):
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", repository, folder], check=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", folder + "[notebooks,ann]"], check=True)
    os.chdir(folder + "/notebooks")
    sys.path[:0] = [folder, folder + "/notebooks"]
    output.enable_custom_widget_manager()

"""


def setup_cell(repo: str | None) -> str:
    """The second cell of every notebook."""
    return CELL.format(address=f"https://github.com/{repo}" if repo else "")


def badges(repo: str, branch: str, path: str) -> str:
    """Markdown of the two badges that open `path` of the repository."""
    place = path.replace("/", "%2F")
    return (
        f"[![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/{repo}/{branch}?labpath={place}) "
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{repo}/blob/{branch}/{path})"
    )


def with_badges(text: str, line: str, prefix: str = "") -> str:
    """`text` with one badge line, and an empty one before it, below its title."""
    text = re.sub(rf"{re.escape(prefix.rstrip())}\n" + BADGES.pattern, "", text)
    title = re.compile(rf"^{re.escape(prefix)}# .*\n", re.M)
    if not title.search(text):
        raise SystemExit("no title found to put the badges below")
    return title.sub(lambda m: f"{m[0]}{prefix.rstrip()}\n{prefix}{line}\n", text, count=1)


def main(argv: list[str]) -> int:
    """Exit status 0, or a line that says what is wrong with the address."""
    repo, branch = argv[0] if argv else "", argv[1] if len(argv) > 1 else "main"
    if not REPO.fullmatch(repo):
        raise SystemExit(f"{repo!r} is no repository: make badges REPO=owner/name")
    changed = [ROOT / "README.md"]
    first = build.sources()[0].stem
    readme = with_badges(changed[0].read_text(encoding="utf-8"), badges(repo, branch, f"notebooks/{first}.ipynb"))
    changed[0].write_text(readme, encoding="utf-8")
    for source in build.sources():
        text = source.read_text(encoding="utf-8")
        if not SETUP.search(text):
            raise SystemExit(f'{source.name} has no cell tagged "setup"')
        text = with_badges(text, badges(repo, branch, f"notebooks/{source.stem}.ipynb"), prefix="# ")
        source.write_text(SETUP.sub(lambda _: setup_cell(repo), text), encoding="utf-8")
        built = build.HERE / f"{source.stem}.ipynb"
        changed.append(source)
        if built.exists():
            notebook = nbformat.read(built, as_version=4)
            for have, want in zip(notebook.cells, build.read(source).cells, strict=True):
                have.source, have.id, have.metadata = want.source, want.id, want.metadata
            built.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
            changed.append(built)
    print("\n".join(str(p.relative_to(ROOT)) for p in changed))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
