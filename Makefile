# Everything a newcomer, a developer and CI need. Each target sets up .venv first, which takes a moment only once.

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
READY := .venv/ready
ARGS ?=
UPGRADE ?=

.PHONY: help demo test lint requirements clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## train, evaluate and report on built-in data, without a network
	rm -rf runs/demo
	$(BIN)/tenfold split digits --out runs/digits.split.csv
	$(BIN)/tenfold train recipes/digits.toml --split runs/digits.split.csv --out runs/demo
	$(BIN)/tenfold evaluate runs/demo --part test
	$(BIN)/tenfold report runs/demo
	@echo "To type tenfold without .venv/bin before it: . .venv/bin/activate"

test: $(READY) ## run every test; ARGS="-k split" runs some
	$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: $(READY) ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

requirements: $(UV) ## pin what pyproject.toml asks for; UPGRADE=--upgrade takes the newest
	$(UV) pip compile $(UPGRADE) --quiet --universal --python-version 3.11 --all-extras --group dev \
	  --no-header --no-annotate --output-file requirements.txt pyproject.toml
	@{ printf '%s\n' "$$REQUIREMENTS_HEADER"; grep -vE '^(cuda|nvidia|triton)' requirements.txt; } > requirements.new
	@mv requirements.new requirements.txt

clean: ## remove the environment and what tools left; runs stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

define REQUIREMENTS_HEADER
# The exact versions that `make` installs, for every system and Python from 3.11 on.
# `make requirements` writes this file from pyproject.toml and keeps each version that still fits.
# CUDA's packages are left out: PyTorch names its own, exactly, and its build for the CPU needs none.
endef
export REQUIREMENTS_HEADER

# The pinned uv, in an environment of its own making, or of pip's where there is no uv yet.
$(UV):
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tenfold needs Python 3.11 or newer, not " \
	  + sys.version.split()[0] + "; name another with: make PYTHON=python3.12 ...")'
	@pinned=$$(grep '^uv==' requirements.txt) && \
	if uv --version >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" .venv && uv pip install --quiet --python .venv "$$pinned"; \
	else \
	  "$(PYTHON)" -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$pinned"; \
	fi

$(READY): requirements.txt pyproject.toml | $(UV)
	@echo "Setting up .venv; the first time this fetches PyTorch, several GB on Linux (README.md says how to take less)."
	@$(UV) pip install --python .venv --requirement requirements.txt
	@$(UV) pip install --python .venv --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c "from tenfold.augment.kernel import compile_passes; compile_passes()"
	@touch $@
