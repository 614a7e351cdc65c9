# The same few commands for people and for CI. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Stages say `python`: it has to be the environment's, whether or not that was activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true

.PHONY: help
help: ## List these commands
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1 \t\2/p' Makefile | expand -t 16

# -- the environment ------------------------------------------------------------------------------------------------

.venv/.stamp: pyproject.toml constraints.txt
	@bootstrap=""
	for candidate in python3.11 python3; do
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
	    bootstrap=$$candidate
	    break
	  fi
	done
	if [[ -z $$bootstrap ]]; then
	  echo "error: fabnet needs Python 3.11 or newer, as python3.11 or python3 on PATH; found: $$(python3 --version 2>&1 || echo no python3)" >&2
	  exit 1
	fi
	if [[ ! -x .venv/bin/python ]]; then "$$bootstrap" -m venv .venv; fi
	echo "installing the environment into .venv"
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# -- the pipeline ---------------------------------------------------------------------------------------------------

.PHONY: repro lock gate bench
BASE ?= origin/main
repro: .venv/.stamp ## Run the pipeline: every stage whose code, params or data changed
	dvc repro report

lock: .venv/.stamp ## Check that code, params and dvc.lock agree; needs no data
	@plan=$$(dvc repro --dry --allow-missing 2>&1) || { echo "$$plan" >&2; exit 1; }
	# DVC plans a changed stage and still exits 0, so the plan has to be read.
	if changed=$$(grep '^Running stage' <<< "$$plan"); then
	  printf 'error: dvc.lock is behind; run make repro and commit dvc.lock. It would run:\n%s\n' "$$changed" >&2
	  exit 1
	fi
	echo "dvc.lock agrees with code and params"

gate: .venv/.stamp ## Compare metrics and predictions with those of the commit BASE (docs/gate.md)
	fabnet gate --base $(BASE) --markdown .work/gate.md

bench: .venv/.stamp ## Time us against others; records go to docs/benchmarks/
	for script in benchmarks/[a-z]*.py; do echo "== $$script"; python -m "benchmarks.$$(basename "$$script" .py)"; done

# -- the code -------------------------------------------------------------------------------------------------------

.PHONY: test newest check format clean
# A process per core, one file at a time: fixtures of a file, such as the tiny pipeline, are made once.
test: .venv/.stamp ## Run the tests
	OMP_NUM_THREADS=1 pytest -n auto --dist loadfile

check: .venv/.stamp lock ## Lint, format, types, workflows, and whether dvc.lock agrees with code and params
	ruff check .
	ruff format --check .
	mypy
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	zizmor --offline --quiet .github

newest: ## Run the tests with the newest versions of all dependencies, in an environment of its own
	python3 -m venv .work/newest
	.work/newest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	PATH="$(CURDIR)/.work/newest/bin:$$PATH" OMP_NUM_THREADS=1 pytest -n auto --dist loadfile

format: .venv/.stamp ## Rewrite the code as `check` wants it
	ruff check --fix-only .
	ruff format .

clean: ## Remove the environment and every cache of the tools; data, models and the DVC cache stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A recipe is one script: the loops and tests above span lines.
.ONESHELL:
