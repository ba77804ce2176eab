# Each target makes its own .venv from nothing. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export RAY_USAGE_STATS_ENABLED := 0
# Ray has all the CPUs: its tests run one after the other.
SIDE_BY_SIDE := --numprocesses 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo lint quick test prove bench clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: .venv/installed  ## make .venv and install everything into it

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup  ## the whole job on the synthetic sample, on this machine
	$(BIN)/emotion-ray demo

lint: setup  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

quick: setup  ## the tests without Ray, under a minute
	$(BIN)/pytest $(SIDE_BY_SIDE) -m 'not ray and not slow'

test: setup  ## all tests, under 15 minutes on 2 cores
	$(BIN)/pytest $(SIDE_BY_SIDE) -m 'not ray'
	$(BIN)/pytest -m ray

prove: setup  ## the long proofs: accuracy, repeated kills, load, benchmarks; a line each of asked and got
	$(BIN)/python benchmarks/prove.py

bench: setup  ## the benchmarks alone, and their pages in results/benchmarks/
	$(BIN)/python benchmarks/prove.py --only bench

clean:  ## remove what was installed
	rm -rf .venv *.egg-info
