# make demo, make test, make ui: each installs what it needs first.

# The model code of LAION-CLAP. The package requires numpy < 2, torchvision and much else, which its model code, all that
# is used of it, does not need: so it is installed by its checksum, without what it requires.
CLAP := requirements.clap
# PSDS needs it, and it comes as source only.
PSDS := sed-scores-eval-np2==0.0.4

PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= all
JOBS ?= 2
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONNOUSERSITE := 1

.PHONY: help install demo test lint ui

help:
	@echo "make demo   install, then train and score captioners, retrievers and a locator on the miniature data set"
	@echo "make test   install, then check style and types and run the tests (some minutes)"
	@echo "make ui     compare runs in MLflow, in the browser"

install: .venv/installed

.venv/installed: requirements.lock $(CLAP) pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else "Earwitness needs Python 3.11; $(PYTHON) is %d.%d. Say: make PYTHON=/path/to/python3.11" % v)'
	@echo "Installing into .venv (about 2 GB; some minutes) ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(CLAP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@if command -v c++ > /dev/null; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(PSDS) \
	  || echo "sed-scores-eval cannot be built here, so PSDS will not be computed; all else is."; \
	else echo "There is no compiler for C++ (c++), so PSDS will not be computed; all else is."; fi
	@touch $@

demo: install
	snakemake --cores $(CORES) -- results/mini/comparison.html
	@earwitness show mini

# Each file of tests runs in one process, so that what its tests share is made once.
test: install lint
	python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

lint: install
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile rules

ui: install
	earwitness ui
