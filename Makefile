# Vasari: two commands on a fresh machine are `make demo` and `make test`.
# PYTHON picks the interpreter (3.11 or 3.12); everything is installed into .venv, nothing outside it.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# One thread per test process: threads of two processes fighting for the cores are slower than one each.
TEST_ENV := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ENCYPHER_C2PA_TELEMETRY=off

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(STAMP) ## set up, make a clip of the shipped synthetic person, verify it, scan it, write a report
	$(BIN)/vasari demo --out demo-out

test: $(STAMP) ## run all tests
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal tests

lint: $(STAMP) ## formatting, lint and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## measure what needs no data from elsewhere, write benchmarks/results/ and docs/BENCHMARKS.md
	$(BIN)/python -m benchmarks.foundation
	$(BIN)/python -m benchmarks.policy
	$(BIN)/python -m benchmarks.renderer
	$(BIN)/python -m benchmarks.motion

clean: ## remove the virtual environment and what the demo made
	rm -rf $(VENV) demo-out .mypy_cache .ruff_cache .pytest_cache

$(STAMP): pyproject.toml .ci/system-packages
	@test -n "$(PYTHON)" || { echo "Vasari needs Python 3.11 or 3.12 on the PATH (or: make PYTHON=/path/to/python)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	  || { echo "Vasari needs Python 3.11 or 3.12; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=/path/to/python3.11"; exit 1; }
	@.ci/system-packages $(PYTHON)
	@echo "Installing into $(VENV); PyTorch with its GPU libraries is about 6 GB, so this takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --editable '.[dev]'
	@touch $@
