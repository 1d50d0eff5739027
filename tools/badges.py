"""Bring the repository's address from pyproject.toml into README and lessons: badges, and Colab's first cell.

    python -m tools.badges [owner/name [branch]]     (make badges, or make badges REPO=owner/name)

The address stands in one place, `[project.urls]` of pyproject.toml; an argument is written there first. As long as
none stands there, README and lessons have no badges, and Colab's first cell says what is missing. Sources and built
notebooks are changed alike, outputs stay; a notebook that differs from its source waits for `make notebooks`.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import nbformat

from tools import build_notebooks as build

ROOT = Path(__file__).resolve().parents[1]
HOST = "https://github.com/"  # Binder and Colab open what is there
REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
REMEDY = "make badges REPO=owner/name"
URLS = re.compile(r'^\[project\.urls\]\n(?:Repository = ".*"\n)?', re.M)
BADGES = re.compile(r"(# )?\[!\[Binder\].*\n")
SETUP = re.compile(r'^# %% [^\n]*tags=\["setup"\]\n.*?(?=^# %%)', re.S | re.M)
CELL = """# %% jupyter={{"source_hidden": true}} tags=["setup"]
# On Colab: fetch and install the course, switch its widgets on. Anywhere else this cell does nothing.
import sys

if "google.colab" in sys.modules:
    import os
    import subprocess

    from google.colab import output

    repository, folder = "{address}", "/content/course"
    if not os.path.isdir(folder):
        if not repository:
            raise RuntimeError(
                "This copy of the course does not know where it was published. Write the address of its repository "
                f"between the quotes above, or unzip the course into {{folder}}, and run this cell again."
            )
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", repository, folder], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", folder + "[panels,ann]"], check=True)
    os.chdir(folder + "/notebooks")
    sys.path[:0] = [folder, folder + "/notebooks"]
    output.enable_custom_widget_manager()

"""


def repository(pyproject: str) -> str | None:
    """owner/name of the address in `[project.urls]`; None where there is none yet. Raises SystemExit for another's.

    >>> repository('[project.urls]\\nRepository = "https://github.com/someone/course"')
    'someone/course'
    """
    address = tomllib.loads(pyproject).get("project", {}).get("urls", {}).get("Repository", "")
    repo = address.removeprefix(HOST).removesuffix("/").removesuffix(".git")
    if address and not (address.startswith(HOST) and REPO.fullmatch(repo)):
        raise SystemExit(f"{address!r} in pyproject.toml is not a repository on {HOST}: {REMEDY}")
    return repo or None


def setup_cell(repo: str | None) -> str:
    """The second cell of every notebook."""
    return CELL.format(address=f"{HOST}{repo}" if repo else "")


def badges(repo: str, branch: str, path: str) -> str:
    """Markdown of the two badges that open `path` of the repository."""
    place = path.replace("/", "%2F")
    return (
        f"[![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/{repo}/{branch}?labpath={place}) "
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com/github/{repo}/blob/{branch}/{path})"
    )


def with_badges(text: str, line: str, prefix: str = "") -> str:
    """`text` with one badge line, and an empty one before it, below its title; with neither where `line` is empty."""
    text = re.sub(rf"{re.escape(prefix.rstrip())}\n" + BADGES.pattern, "", text)
    title = re.compile(rf"^{re.escape(prefix)}# .*\n", re.M)
    if not title.search(text):
        raise SystemExit("no title found to put the badges below")
    added = f"{prefix.rstrip()}\n{prefix}{line}\n" if line else ""
    return title.sub(lambda m: m[0] + added, text, count=1)


def main(argv: list[str]) -> int:
    """Exit status 0, or a line that says what is wrong with the address."""
    given, branch = argv[0] if argv else "", argv[1] if len(argv) > 1 else "main"
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    if given:
        if not REPO.fullmatch(given):
            raise SystemExit(f"{given!r} is not a repository: {REMEDY}")
        pyproject = URLS.sub(lambda _: f'[project.urls]\nRepository = "{HOST}{given}"\n', pyproject)
        (ROOT / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    repo = repository(pyproject)

    def line(stem: str) -> str:
        return badges(repo, branch, f"notebooks/{stem}.ipynb") if repo else ""

    changed = [ROOT / "README.md"]
    readme = with_badges(changed[0].read_text(encoding="utf-8"), line(build.sources()[0].stem))
    changed[0].write_text(readme, encoding="utf-8")
    for source in build.sources():
        text, built = source.read_text(encoding="utf-8"), build.HERE / f"{source.stem}.ipynb"
        if not SETUP.search(text):
            raise SystemExit(f'{source.name} has no cell tagged "setup"')
        in_step = built.exists() and not build.problems(source, built)
        text = with_badges(text, line(source.stem), prefix="# ")
        source.write_text(SETUP.sub(lambda _: setup_cell(repo), text), encoding="utf-8")
        changed.append(source)
        if in_step:  # outputs of other code would stay under this one
            notebook = nbformat.read(built, as_version=4)
            for have, want in zip(notebook.cells, build.read(source).cells, strict=True):
                have.source, have.id, have.metadata = want.source, want.id, want.metadata
            built.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
            changed.append(built)
    print("\n".join(str(p.relative_to(ROOT)) for p in changed))
    if repo is None:
        print(f"no badges: pyproject.toml names no repository yet ({REMEDY})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
