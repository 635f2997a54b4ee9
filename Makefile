# `make demo` and `make test` each work first thing after a clone: they set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date
# A process for each core and one more, of one thread: the networks of tests are too small to share among threads, and
# a quarter of the time a process waits for what it has started.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count()) + 1)')

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint types bench clean

help:  ## what there is to do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv, or bring it up to date

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; found $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(STAMP)  ## train a baseline and GenSeg on drawn X-rays and compare them: about 3 minutes on 2 cores
	$(BIN)/python -m genseg_betty +experiment=demo method=vanilla run_dir=outputs/demo-vanilla
	$(BIN)/python -m genseg_betty +experiment=demo method=genseg run_dir=outputs/demo-genseg
	@$(BIN)/genseg report outputs/demo-vanilla outputs/demo-genseg --out outputs/demo.html > /dev/null
	@echo "Both compared, with pictures: $(CURDIR)/outputs/demo.html (open it in a browser)"

test: $(STAMP)  ## lint, types and the quick tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m "not slow"

test-all: $(STAMP)  ## all tests
	$(PYTEST)

lint: $(STAMP)  ## find and mend style faults
	$(BIN)/ruff check --fix .

types: $(STAMP)  ## check the type hints
	$(BIN)/mypy

bench: $(STAMP)  ## speed and memory: of a joint iteration, its variants, how they grow; loading (under 10 minutes)
	$(BIN)/python benchmarks/iteration.py
	$(BIN)/python benchmarks/versus.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/steady.py
	$(BIN)/python benchmarks/loading.py --count 200

clean:  ## remove caches and build products; .venv, outputs and data stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache
	find src tests benchmarks experiments -name __pycache__ -type d -prune -exec rm -rf {} +
