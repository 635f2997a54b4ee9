# `make demo` and `make test` each work first thing after a clone: they set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.up-to-date
# nnU-Net brings many packages along, codecs of images among them: it has an environment of its own.
NNUNET := .venv-nnunet
# A process for each core and one more, of one thread: the networks of tests are too small to share among threads, and
# a quarter of the time a process waits for what it has started. Each begins with whole files, whose parts share what
# they set up.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest --dist worksteal \
  --numprocesses $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count()) + 1)')

.DEFAULT_GOAL := help
.PHONY: help setup setup-nnunet setup-slurm demo test test-slow test-nnunet test-slurm test-all lint types bench clean

help:  ## what there is to do
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv, or bring it up to date

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; found $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(STAMP)  ## train GenSeg and its control on drawn X-rays and compare them: about 3 minutes on 2 cores
	$(BIN)/python -m genseg_betty +experiment=demo method=real_twice run_dir=outputs/demo-real_twice
	$(BIN)/python -m genseg_betty +experiment=demo method=genseg run_dir=outputs/demo-genseg
	@$(BIN)/genseg report outputs/demo-real_twice outputs/demo-genseg --out outputs/demo.html > /dev/null
	@echo "Both compared, with pictures: $(CURDIR)/outputs/demo.html (open it in a browser)"

test: $(STAMP)  ## lint, types and the quick tests
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) -m "not slow"

test-slow: $(STAMP)  ## the tests that `make test` leaves out: the rest of every grid
	$(PYTEST) -m slow -k "not slurm"

setup-nnunet: $(NNUNET)/.up-to-date  ## make .venv-nnunet, as .venv but with nnU-Net, which method=nnunet runs

$(NNUNET)/.up-to-date: $(STAMP)
	@test -x $(NNUNET)/bin/python || $(PYTHON) -m venv --without-pip $(NNUNET)
	$(BIN)/uv pip install --compile-bytecode --python $(NNUNET)/bin/python --constraint constraints.txt --editable '.[nnunet]' --group dev
	@$(NNUNET)/bin/python -c 'from genseg_betty.nnunet.commands import require_nnunet; print("nnU-Net", require_nnunet())'
	@touch $@

test-nnunet: setup-nnunet  ## the tests that run nnU-Net itself: some minutes on 2 cores
	OMP_NUM_THREADS=1 $(NNUNET)/bin/python -m pytest -m slow -k nnunet tests/nnunet

setup-slurm: $(STAMP)  ## install SLURM on a Debian machine of one's own, as root; test-slurm starts it for itself
	@command -v slurmctld > /dev/null || test -x /usr/sbin/slurmctld || \
	  { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update --quiet && \
	    DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends slurm-wlm munge; } || \
	  echo "SLURM is not installed, and only root can do so here, by apt: its tests will be skipped"

test-slurm: setup-slurm  ## a sweep through launcher=slurm on a SLURM of one node: some minutes on 2 cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -k slurm tests/slurm -rs

test-all: test test-slow test-nnunet test-slurm  ## all of these: under an hour on 2 cores

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
