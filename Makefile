# All there is to run. On a fresh machine it needs Python 3.11 or later, git, make and a package index.
# Another Python gets an environment of its own:  make test PYTHON=python3.12 VENV=.venv-3.12

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
MEASURED ?= # what measures the tests as they run; .ci/run says how

BIN = $(VENV)/bin
BENCHMARKS ?= capture startup watch virtual_time network explore suite page
PIP = $(BIN)/python -m pip --disable-pip-version-check -qq

.PHONY: help test demo chat lint types docs dist coverage benchmark browser pictures clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18
	@echo "  PYTHON=$(PYTHON)  VENV=$(VENV)  ARGS=... for pytest"

test: $(VENV)/ready ## the whole test suite: the plugin's, the example's, the documentation's
	@$(BIN)/python $(MEASURED) -m pytest $(ARGS)

demo: $(VENV)/ready ## what the plugin does, shown on the example application
	@$(BIN)/python -m pytest -q -s -p no:randomly -p no:cacheprovider examples/demo $(ARGS)

chat: $(VENV)/ready ## start the example application; Ctrl-C ends it
	@cd examples/chat && exec $(abspath $(BIN))/python -m resync

lint: $(VENV)/ready-to-lint ## ruff, and mypy in strict mode
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy --no-error-summary

coverage: export COVERAGE_FILE = $(abspath $(VENV))/.coverage
coverage: $(VENV)/ready ## the test suite, and which branches it covers on this Python
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n auto -q $(ARGS)
	@$(BIN)/coverage combine -q --keep
	@$(BIN)/coverage report

types: $(VENV)/ready-to-lint ## all that is public has complete types
	@PATH=$(abspath $(BIN)):$$PATH pyright --verifytypes pytest_background_tasks --ignoreexternal

docs: $(VENV)-docs/ready ## the documentation as a site, in build/site; a dead link or any other warning is an error
	@$(VENV)-docs/bin/python -m sphinx -q -E -W --keep-going docs build/site

dist: $(VENV)/ready-to-lint ## sdist and wheel, in dist/, checked
	@rm -rf dist
	@$(BIN)/python -m build -q
	@$(BIN)/twine check --strict dist/*

benchmark: $(VENV)-benchmark/ready ## what it costs, and how fast it is, beside its peers; explore needs Python 3.12
	@for each in $(BENCHMARKS); do $(VENV)-benchmark/bin/python benchmarks/$$each.py; done

browser: $(VENV)/ready-to-browse ## the tests of the page, in Chromium; install that first (Debian: apt install chromium)
	@$(BIN)/python -m pytest tests/report/test_browser.py $(ARGS)

pictures: $(VENV)/ready-to-browse ## take the pictures in docs/pictures anew
	@$(BIN)/python docs/pictures/take.py

clean: ## remove what these commands have made
	@rm -rf .venv .venv-* .coverage build dist .explore .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

# The old pip of a fresh environment knows no dependency groups, so it is upgraded first.
$(VENV)/ready: pyproject.toml examples/chat/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) here. Install Python 3.11 or later, or name one: make $(MAKECMDGOALS) PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11. Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Preparing $(VENV), once ..." >&2
	@if test -e $(VENV)/pyvenv.cfg; then clear=--clear; fi; $(PYTHON) -m venv $$clear $(VENV)
	@$(PIP) install --upgrade pip
	@$(PIP) install --group test -e . -e examples/chat
	@touch $@

$(VENV)/ready-to-lint: $(VENV)/ready
	@$(PIP) install --group lint
	@touch $@

$(VENV)/ready-to-browse: $(VENV)/ready
	@$(PIP) install --group browser
	@touch $@

$(VENV)-docs/ready: pyproject.toml
	@echo "Preparing $(VENV)-docs, once ..." >&2
	@$(PYTHON) -m venv --clear $(VENV)-docs
	@$(VENV)-docs/bin/python -m pip --disable-pip-version-check -qq install --upgrade pip
	@$(VENV)-docs/bin/python -m pip --disable-pip-version-check -qq install --group docs -e .
	@touch $@

# Peers bring plugins of pytest, which must not load into the test suite.
$(VENV)-benchmark/ready: pyproject.toml
	@echo "Preparing $(VENV)-benchmark, once ..." >&2
	@if test -e $(VENV)-benchmark/pyvenv.cfg; then clear=--clear; fi; $(PYTHON) -m venv $$clear $(VENV)-benchmark
	@$(VENV)-benchmark/bin/python -m pip --disable-pip-version-check -qq install --upgrade pip
	@$(VENV)-benchmark/bin/python -m pip --disable-pip-version-check -qq install --group benchmark -e .
	@touch $@
