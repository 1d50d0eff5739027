"""What a clean clone meets: package lists in step, make targets, README commands, notebooks that agree with sources."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from PIL import Image

import mrl_tutorial
from mrl_tutorial.cli import ledger, parser
from mrl_tutorial.errors import InputError
from tools import build_notebooks as build
from tools import ledger_pages, preflight

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch-cpu": "torch", "huggingface_hub": "huggingface-hub"}


def ranges(lines) -> dict[str, SpecifierSet]:
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines)}


CORE = ranges(PROJECT["dependencies"])
EXTRAS = {name: ranges(lines) for name, lines in PROJECT["optional-dependencies"].items()}


def conda(path: str) -> tuple[dict[str, SpecifierSet], list[str]]:
    """What a conda environment lists: by the names of PyPI, and the lines for pip."""
    listed = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    pip = next((x["pip"] for x in listed if isinstance(x, dict)), [])
    lines = (x.partition(" ") for x in listed if isinstance(x, str))
    return ranges(CONDA_NAMES.get(name, name) + versions for name, _, versions in lines), pip


def test_conda_environment_is_in_step_with_pyproject():
    have, pip = conda("environment.yml")
    have |= ranges(x for x in pip if not x.startswith("-e"))
    assert have.pop("python") == SpecifierSet(PROJECT["requires-python"])
    assert have.pop("pip") == SpecifierSet()
    assert have == CORE | EXTRAS["notebooks"] | EXTRAS["ann"]


def test_binder_has_a_python_that_we_support_and_pins_the_rest():
    listed = yaml.safe_load((ROOT / "binder/environment.yml").read_text())["dependencies"]
    # how repo2docker finds it: buildpacks/conda, PYTHON_REGEX; what does not match gets its own default
    (python,) = (m[1] for x in listed if (m := re.match(r"python\s*=+\s*([\d\.]*)", x)))
    assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]
    assert [x for x in listed if x.startswith("pytorch")] == [f"pytorch-cpu {CORE['torch']}"]
    script = (ROOT / "binder/postBuild").read_text()
    assert "constraints.txt" in script and '-c "$versions" -e ".[notebooks,ann]"' in script
    assert os.access(ROOT / "binder/postBuild", os.X_OK) and os.access(ROOT / "binder/start", os.X_OK)


def test_constraints_pin_everything_that_pyproject_asks_for():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        assert specifier.operator == "==" and "+" not in specifier.version, line
        assert canonicalize_name(requirement.name) not in pins, line
        pins[canonicalize_name(requirement.name)] = specifier.version
    for wanted in (CORE, *EXTRAS.values()):
        for name, specifier in wanted.items():
            assert name in pins, f"{name} is not pinned"
            assert pins[name] in specifier, f"{name}: {pins[name]} is outside {specifier}"


# -- make ----------------------------------------------------------------------------------------------------------


def make(*args: str) -> subprocess.CompletedProcess:
    if not shutil.which("make"):
        pytest.skip("no make here")
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")}
    return subprocess.run(["make", *args], cwd=ROOT, env=env, capture_output=True, text=True)


def fake_python(tmp_path: Path, prologue: str) -> str:
    """A Python in which `prologue` has run first."""
    script = tmp_path / "fakepython"
    code = f"import sys; {prologue}; sys.argv = sys.argv[1:]; exec(open(sys.argv[0]).read())"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n')
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    "prologue, says, remedy",
    [
        ("sys.version_info = (3, 10, 1, 'final', 0)", "Python 3.11 or newer", "PYTHON="),
        ("sys.modules['ensurepip'] = None", "ensurepip", "apt-get install python3"),
        ("import shutil, collections; shutil.disk_usage = lambda p: collections.namedtuple('U', 'free')(2e9)",
         "2.0 GB free", "free some space"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_of_a_venv_is_said_in_one_line(tmp_path, prologue, says, remedy):
    venv = tmp_path / "venv"
    done = make("lab", f"VENV={venv}", f"PYTHON={fake_python(tmp_path, prologue)}", "MIN_FREE_GB=4")
    lines = [x for x in done.stderr.splitlines() if not x.startswith("make")]
    assert done.returncode != 0 and not venv.exists()
    assert len(lines) == 1 and says in lines[0] and remedy in lines[0]


def test_a_missing_python_is_said_in_one_line(tmp_path):
    done = make("test", f"VENV={tmp_path / 'venv'}", "PYTHON=/no/such/python")
    lines = [x for x in done.stderr.splitlines() if not x.startswith("make")]
    assert done.returncode != 0 and len(lines) == 1 and "no /no/such/python found" in lines[0]


def test_cpu_wheels_ask_for_less_disk():
    assert preflight.default_gb(True) == 4
    assert preflight.default_gb(False) == (12 if sys.platform.startswith("linux") else 4)
    assert preflight.trouble(str(ROOT), 0) is None


def test_preflight_can_be_read_by_an_old_python():
    tree = ast.parse((ROOT / "tools/preflight.py").read_text())
    for node in ast.walk(tree):
        assert not isinstance(node, (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef))
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None and not any(a.annotation for a in node.args.args)


def stamped(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


def test_a_second_start_installs_nothing(tmp_path):
    venv = stamped(tmp_path, ".made", ".torch", ".installed", ".installed-test")
    for target, runs in (("lab", "-m jupyterlab"), ("test", "-m pytest")):
        done = make("-n", target, f"VENV={venv}")
        assert done.returncode == 0 and runs in done.stdout and "pip install" not in done.stdout, done.stdout


def test_a_changed_pin_installs_again(tmp_path):
    venv = stamped(tmp_path, ".made", ".torch", ".installed", ".installed-test")
    for name in (".torch", ".installed", ".installed-test"):
        os.utime(venv / name, (1, 1))
    assert "pip install" in make("-n", "test", f"VENV={venv}").stdout


def test_the_index_of_cpu_wheels_is_asked_for_torch_alone(tmp_path):
    venv = stamped(tmp_path, ".made")
    done = make("-n", "lab", f"VENV={venv}", "TORCH_INDEX=file:///wheels")
    asked = [x for x in done.stdout.splitlines() if "file:///wheels" in x]
    assert len(asked) == 1 and asked[0].endswith("torch") and "--no-deps" in asked[0]


# -- README --------------------------------------------------------------------------------------------------------

TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "INSTALL.md", "USING.md")}
README = TEXTS["README.md"]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", "\n".join(TEXTS.values()), re.S)
COMMANDS = [x.strip() for language, block in BLOCKS if not language for x in block.splitlines()]


def test_readme_shows_the_grid_first_then_two_commands():
    before, block, _ = README.split("```", 2)
    assert "notebooks/images/explorer.webp" in before and block.split() == ["make", "lab", "make", "test"]
    assert len(README.splitlines()) < 90


def test_the_picture_moves_and_is_small():
    path = ROOT / "notebooks/images/explorer.webp"
    with Image.open(path) as picture:
        assert picture.n_frames > 20 and picture.width == 920 and path.stat().st_size < 1e6


def test_make_commands_exist():
    inline = re.findall(r"`(?:\w+=\S+ )?(make [a-z-]+)", " ".join(TEXTS.values()))
    targets = {x.split()[1] for x in (*inline, *COMMANDS) if x.startswith("make ")}
    assert {"lab", "test", "site", "badges"} <= targets
    for target in targets:
        done = make("-n", target)
        assert done.returncode == 0, f"make {target}: {done.stderr}"


def test_commands_of_the_command_line_parse():
    lines = [x.split("#")[0] for x in COMMANDS if x.startswith("mrl-tutorial ")]
    assert len(lines) >= 5
    for line in lines:
        parser.parser().parse_args(shlex.split(line)[1:])


def test_python_of_the_documents_compiles_and_its_names_are_there():
    for language, block in BLOCKS:
        if language == "python":
            tree = ast.parse(block)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module == "mrl_tutorial":
                    assert {name.name for name in node.names} <= set(mrl_tutorial.__all__)


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)\)", TEXTS[name]) + re.findall(r'src="([^"]+)"', TEXTS[name]):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_readme_tells_five_claims_as_the_ledger_has_them(tmp_path):
    (tmp_path / "README.md").write_text(README)
    ledger_pages.into_readme(tmp_path / "README.md", ledger.read())
    assert (tmp_path / "README.md").read_text() == README, "mrl-tutorial ledger --readme README.md"
    rows = {row["id"]: row for row in ledger.read()}
    told = README.split("<!-- ledger: begin")[1].splitlines()[3:-1]
    told = told[: next(i for i, line in enumerate(told) if line.startswith("<!--"))]
    assert len(told) == 5 and all(any(r["claim"] in x and r["verdict"] in x for r in rows.values()) for x in told)


def test_a_readme_without_a_place_for_the_ledger_stays_as_it_is(tmp_path):
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(InputError, match="no place for the ledger"):
        ledger_pages.into_readme(tmp_path / "README.md", ledger.read())
    assert (tmp_path / "README.md").read_text() == "# Mine\n"


# -- notebooks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", build.sources(), ids=lambda p: p.stem)
def test_notebook_agrees_with_its_source(source):
    assert build.problems(source, ROOT / "notebooks" / f"{source.stem}.ipynb") == []
    assert f"notebooks/{source.stem}.ipynb" in README


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A folder of notebooks of its own, with one source."""
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.delenv("FAST", raising=False)
    (tmp_path / "source").mkdir()
    source = tmp_path / "source" / "00_try.py"
    source.write_text("# %% [markdown]\n# Try\n\n# %%\nimport ipywidgets\nipywidgets.IntSlider()\n\n# %%\nprint(42)\n")
    return source


def test_build_keeps_outputs_and_drops_widget_state(workshop):
    assert build.build(workshop, workshop.parents[1]) is None
    built = workshop.parents[1] / "00_try.ipynb"
    notebook = build.nbformat.read(built, 4)
    assert "widgets" not in notebook.metadata and build.problems(workshop, built) == []
    slider, answer = (c.outputs[0] for c in notebook.cells if c.cell_type == "code")
    assert answer.text == "42\n" and dict(slider.data) == {"text/plain": build.LIVE}
    before = built.read_bytes()
    workshop.write_text(workshop.read_text() + "\n# %%\n1 / 0\n")
    assert "agree" not in "".join(build.problems(workshop, built)) and build.problems(workshop, built)
    assert "ZeroDivisionError" in build.build(workshop, workshop.parents[1])
    assert built.read_bytes() == before and sorted(p.name for p in built.parent.iterdir()) == ["00_try.ipynb", "source"]


def test_cell_ids_do_not_depend_on_the_cells_before(workshop):
    ids = [c.id for c in build.read(workshop).cells]
    workshop.write_text("# %%\nprint('new')\n\n" + workshop.read_text())
    assert [c.id for c in build.read(workshop).cells][1:] == ids and len(set(ids)) == len(ids)


def test_fast_results_never_replace_the_committed_ones(workshop, monkeypatch):
    monkeypatch.setenv("FAST", "1")
    with pytest.raises(SystemExit, match="FAST=1"):
        build.main(["--out", str(workshop.parents[1])])


def test_unknown_notebook_is_named(workshop):
    with pytest.raises(SystemExit, match=r"'07'.*00_try"):
        build.main(["--only", "07"])
