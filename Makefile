# Two commands on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(shell \
	$(p) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
BIN := .venv/bin
PYTEST := $(BIN)/pytest -q
WORKERS ?= 3
# tests at a time; `make test SPREAD="-p no:xdist"` runs them one after the other
SPREAD ?= --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help install demo test test-rest test-all lint format bench clean
.DEFAULT_GOAL := help

help:  ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

install: .venv/installed  ## a virtual environment with exactly the pinned versions

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "expected Python 3.11 or newer with venv, found none; install it or set PYTHON"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: install  ## a refereed run on two CPU cores, then the leaderboard (a minute, and another the first time)
	$(BIN)/speedrun run train_gpt.py --track nano-2cpu
	$(BIN)/speedrun leaderboard --track nano-2cpu

test: install lint  ## what to run before every commit: minutes
	$(BIN)/speedrun verify records
	$(PYTEST) $(SPREAD) -m "not slow and not gpu"

test-rest: install  ## the longer tests that .ci/run adds: a sample of exhibits, whole campaigns, real pip
	$(PYTEST) $(SPREAD) -m "slow and not exhaustive and not gpu"

test-all: install lint  ## everything: all exhibits at all sandbox levels, new examples for property tests, and with the GPU where there is one
	$(PYTEST) $(SPREAD) --hypothesis-profile=explore

lint: install  ## format check, linter, type checker
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

format: install  ## rewrite the files as the formatter wants them
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

bench: install  ## measure the harness; what came out is in benchmarks/README.md
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.judge_rate
	$(BIN)/python -m benchmarks.first_answer
	$(BIN)/python -m benchmarks.timed_region
	$(BIN)/python -m benchmarks.counting --track nano-2cpu
	$(BIN)/python -m benchmarks.data_speed
	$(BIN)/python -m benchmarks.sandbox_cost
	$(BIN)/python -m benchmarks.acceptance
	$(BIN)/python -m benchmarks.leaderboard_speed
	$(BIN)/python -m benchmarks.site_speed

clean:  ## remove what can be made again (runs/ and downloaded data stay)
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache
