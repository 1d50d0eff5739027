# The course from a clean clone: `make lab` opens it, `make test` tests it. `make help` lists the rest.
PYTHON ?= python3
VENV ?= .venv
# PyTorch's CPU wheels: give the address of the index that holds them, e.g. make lab TORCH_INDEX=...
TORCH_INDEX ?=
# GB of free disk asked for before .venv is made; empty: 4 for CPU wheels, 12 otherwise
MIN_FREE_GB ?=
LAB_ARGS ?=
TEST_ARGS ?=
NOTEBOOK_ARGS ?=
SITE_ARGS ?=
SHEET_ARGS ?=
BENCH ?= grid
BENCH_ARGS ?=
FAST ?=
REPO ?=
BRANCH ?=
CHROMIUM ?=

export TORCH_INDEX MIN_FREE_GB FAST CHROMIUM
# Idle worker threads sleep in place of spinning: on two cores that are shared with a browser, spinning stalls both
export OMP_WAIT_POLICY ?= PASSIVE

PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check -c constraints.txt
FIRST := $(firstword $(sort $(wildcard notebooks/[0-9][0-9]_*.ipynb)))
# Jupyter refuses to run as root (containers) unless told that this is meant
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.DEFAULT_GOAL := help
.PHONY: help lab test test-browser test-web lint notebooks check-notebooks site sheet bench badges constraints clean

help:
	@echo "make lab              open the course in JupyterLab   LAB_ARGS='--no-browser --port 8899'"
	@echo "make test             run the tests                   TEST_ARGS='-k losses'"
	@echo "make test-browser     run the tests that drive Chromium"
	@echo "make test-web         check the panels' JavaScript    (needs node)"
	@echo "make lint             check style and types           (ruff, mypy)"
	@echo "make notebooks        build the notebooks             NOTEBOOK_ARGS='--only 01'  FAST=1"
	@echo "make check-notebooks  do sources and notebooks agree?"
	@echo "make site             the course as a web site in site/   SITE_ARGS='--only 01'  FAST=1"
	@echo "make sheet            the exercises to print, in build/exercises.html"
	@echo "make bench            run one benchmark               BENCH=loss|grid|encode|train|panels|retrieval"
	@echo "make badges           the address in pyproject.toml goes into README and lessons   REPO=owner/name"
	@echo "make constraints      write constraints.txt from what is installed in $(VENV)"
	@echo "make clean            remove $(VENV) and what was built"

# The stamps say which installs are done: a second start installs nothing. A half-made .venv is made again.
$(VENV)/.made:
	@command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) found: install Python 3.11 or newer, or name one, e.g. make lab PYTHON=/usr/bin/python3.12" >&2; exit 1; }
	@"$(PYTHON)" tools/preflight.py
	@$(PY) -m pip --version >/dev/null 2>&1 || { echo "making $(VENV) with $$("$(PYTHON)" --version)"; "$(PYTHON)" -m venv --clear "$(VENV)"; }
	@touch $@

$(VENV)/.torch: $(VENV)/.made constraints.txt
	@$(if $(TORCH_INDEX),$(PIP) --no-deps --index-url "$(TORCH_INDEX)" torch,true)
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml constraints.txt
	@echo "installing the course (a few minutes the first time)"
	$(PIP) -e ".[notebooks,ann]"
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(PIP) -e ".[$*]"
	@touch $@

lab: $(VENV)/.installed
	@$(PY) -c "" || { echo "$(VENV) no longer runs (was its Python removed, or the folder moved?): make clean, then make lab" >&2; exit 1; }
	JUPYTER_CONFIG_PATH="$(CURDIR)/jupyter" JUPYTER_PLATFORM_DIRS=1 $(PY) -m jupyterlab $(ROOT) --ServerApp.root_dir="$(CURDIR)" $(LAB_ARGS) $(FIRST)

test: $(VENV)/.installed-test
	$(PY) -m pytest $(TEST_ARGS)

test-browser: $(VENV)/.installed-test $(VENV)/.installed-browser
	@$(PY) -m tools.chromium
	$(PY) -m pytest tests/browser $(TEST_ARGS)

# types and pure functions of the panels' JavaScript; needs node and npm, which the course itself does not
test-web:
	npm install --prefix tests/panels/web --no-audit --no-fund --no-package-lock --silent
	npm run --prefix tests/panels/web --silent types
	npm run --prefix tests/panels/web --silent test

lint: $(VENV)/.installed-test $(VENV)/.installed-lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

notebooks: $(VENV)/.installed-build
	$(PY) -m tools.build_notebooks $(NOTEBOOK_ARGS)

check-notebooks: $(VENV)/.installed-build
	$(PY) -m tools.build_notebooks --check $(NOTEBOOK_ARGS)

site: $(VENV)/.installed-build
	$(PY) -m tools.site $(SITE_ARGS)

sheet: $(VENV)/.installed-build
	$(PY) -m tools.exercise_sheet $(SHEET_ARGS)

bench: $(VENV)/.installed-test $(if $(filter panels,$(BENCH)),$(VENV)/.installed-browser)
	$(PY) -m mrl_tutorial bench $(BENCH) $(BENCH_ARGS)

badges: $(VENV)/.installed-build
	$(PY) -m tools.badges "$(REPO)" $(BRANCH)

constraints: $(VENV)/.installed-test $(VENV)/.installed-browser $(VENV)/.installed-build $(VENV)/.installed-lint $(VENV)/.installed-milvus
	$(PY) -m tools.constraints constraints.txt

clean:
	rm -rf "$(VENV)" build dist site *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
