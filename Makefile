# The same few commands for developers and CI. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Stages say `python`: it has to be the environment's, whether or not that was activated.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := true

.PHONY: help
help: ## List these commands
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1 \t\2/p' Makefile | expand -t 24

# -- the environment ------------------------------------------------------------------------------------------------

# PYTHON=python3.13 names another interpreter.
.venv/.stamp: pyproject.toml constraints.txt
	@bootstrap=""
	for candidate in $(PYTHON) python3.11 python3; do
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

.PHONY: repro tiny lock verify gate metrics contracts bench
# The commit to compare with. Recipes read it from the environment, so that the shell does not read it as code.
export BASE ?= origin/main
# Each variant trains with one thread (train.common.threads), so as many as there are cores train in parallel (decision 12); a
# GPU they would share. `fabnet params lines` says which wait for which. JOBS=1 or a plain `dvc repro report` takes longer and makes the same.
JOBS ?= $(shell if command -v nvidia-smi > /dev/null; then echo 1; else nproc; fi)
# DVC ends each of its calls with the same hint on git, and only `--quiet`, which hides errors too, or adding everything to
# git's index (core.autostage), which processes cannot do at once, would stop it.
HINT := /^(To track the changes with git, run:|\tgit add .*|To enable auto staging, run:|\tdvc config core\.autostage true)?$$/d
define reproduce
	{
	  fabnet tidy
	  dvc repro validate validate_set
	  fabnet params lines | xargs -d '\n' -n 1 -P $(JOBS) bash -euc 'for stage in $$0; do dvc --wait-for-lock repro --single-item "$$stage"; done'
	  dvc repro report
	} | sed -uE '$(HINT)'
endef
repro: .venv/.stamp ## Run the pipeline: every stage whose code, params or data changed (FABNET_LOG sets how much is logged)
	$(reproduce)

tiny: .venv/.stamp ## Run the whole pipeline on tiny data, twice, in a copy of the commit below .work
	rm -rf .work/tiny
	git clone --quiet . .work/tiny
	cd .work/tiny
	export PYTHONPATH="$$PWD"
	fabnet params use tiny
	$(reproduce)
	if dvc repro --dry report | grep '^Running stage'; then
	  echo "error: the second run would do something" >&2
	  exit 1
	fi

lock: .venv/.stamp ## Check that code, params and dvc.lock agree (needs no data)
	@plan=$$(dvc repro --dry --allow-missing 2>&1) || { echo "$$plan" >&2; exit 1; }
	# DVC plans a changed stage and still exits 0, so the plan has to be read.
	if changed=$$(grep '^Running stage' <<< "$$plan"); then
	  printf 'error: dvc.lock is behind; run make repro and commit dvc.lock. It would run:\n%s\n' "$$changed" >&2
	  exit 1
	fi
	echo "dvc.lock agrees with code and params"

verify: BASE = HEAD
verify: .venv/.stamp ## Was the commit BASE (HEAD) reproduced on this machine? (docs/reproducibility.md)
	fabnet verify --base "$$BASE"

gate: .venv/.stamp ## Compare metrics and predictions with those of the commit BASE (docs/gate.md)
	fabnet gate --base "$$BASE" --markdown .work/gate.md

# Where the gate cannot compare (exit code 3, docs/gate.md), people decide: a warning. PAGES is the repository's address.
metrics: .venv/.stamp ## Compare scores and pictures with those of BASE, in .work/summary.md; fails if the gate does
	@mkdir -p .work
	rm -f .work/gate.md
	code=0
	fabnet gate --base "$$BASE" --markdown .work/gate.md || code=$$?
	{
	  if [[ -f .work/gate.md ]]; then cat .work/gate.md; else echo "The gate could not judge: exit code $$code."; fi
	  printf '\n## Metrics\n\n'
	  dvc metrics diff --md --targets metrics.json -- "$$BASE" | sed -E '/\.(low|high|n) +\|/d'
	  echo
	  fabnet pictures --base "$$BASE" --url "$${PAGES:-}"
	} > .work/summary.md
	if [[ -n "$${GITHUB_STEP_SUMMARY:-}" ]]; then cat .work/summary.md >> "$$GITHUB_STEP_SUMMARY"; fi
	if [[ $$code -eq 3 ]]; then
	  echo "::warning::the gate cannot compare; see the summary"
	  exit 0
	fi
	exit $$code

contracts: .venv/.stamp ## Check that every contract that changed since BASE has a new version and a note
	@if [[ "$$BASE" =~ ^0+$$ ]]; then echo "a new branch: there is nothing to compare with"; exit 0; fi
	git rev-parse --verify --quiet "$$BASE^{commit}" > /dev/null || { echo "error: $$BASE: no such commit; fetch it, or name another: make contracts BASE=..." >&2; exit 1; }
	if ! git cat-file -e "$$BASE:docs/schemas.json" 2> /dev/null; then echo "$$BASE has no contracts"; exit 0; fi
	mkdir -p .work
	git show "$$BASE:docs/schemas.json" > .work/schemas.json
	fabnet schema --against .work/schemas.json
	echo "contracts agree with those of $$BASE, or say what changed"

bench: .venv/.stamp ## Run all benchmarks; records go to docs/benchmarks/
	for script in benchmarks/[a-z]*.py; do echo "== $$script"; python -m "benchmarks.$$(basename "$$script" .py)"; done

# -- tracking -------------------------------------------------------------------------------------------------------

# MLflow reads these variables itself; what the environment says of them goes before what is here (docs/registry.md).
# The server has a database of its own: in the project's, places of artifacts are paths of this machine.
.PHONY: mlflow-server
mlflow-server: export MLFLOW_HOST ?= 127.0.0.1
mlflow-server: export MLFLOW_PORT ?= 5000
mlflow-server: export MLFLOW_SERVER_ALLOWED_HOSTS ?= 127.0.0.1:$(MLFLOW_PORT),localhost:$(MLFLOW_PORT)
mlflow-server: export MLFLOW_BACKEND_STORE_URI ?= sqlite:///$(CURDIR)/.work/mlflow-server/mlflow.db
mlflow-server: export MLFLOW_ARTIFACTS_DESTINATION ?= $(CURDIR)/.work/mlflow-server/artifacts
mlflow-server: export MLFLOW_WORKERS ?= 1
mlflow-server: export MLFLOW_SERVER_ENABLE_JOB_EXECUTION ?= false
mlflow-server: .venv/.stamp ## Run an MLflow tracking server on this machine (docs/registry.md)
	mkdir -p .work/mlflow-server
	exec mlflow server

# -- the code -------------------------------------------------------------------------------------------------------

.PHONY: test coverage newest check format docs clean
# A process per core, one file at a time, in the order of tests/conftest.py: fixtures of a file are made once.
test: .venv/.stamp ## Run the tests
	OMP_NUM_THREADS=1 pytest -n auto --dist loadfile --no-loadscope-reorder --durations=25

# Of what runs in the tests' own processes; the code of stages that they start counts as missed.
coverage: .venv/.stamp ## Run the tests and print which code they reach (slower than test)
	OMP_NUM_THREADS=1 pytest -n auto --dist loadfile --no-loadscope-reorder --durations=25 --cov --cov-report=term

check: .venv/.stamp lock ## Lint, format, types, schemas of workflows and other YAML, and whether dvc.lock agrees with code and params
	ruff check .
	ruff format --check .
	mypy
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[!c]*.yml
	check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	zizmor --offline --quiet .github

newest: ## Run the tests with the newest versions of all dependencies, in a separate environment
	python3 -m venv .work/newest
	.work/newest/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	PATH="$(CURDIR)/.work/newest/bin:$$PATH" OMP_NUM_THREADS=1 pytest -n auto --dist loadfile

format: .venv/.stamp ## Format the code and apply lint fixes
	ruff check --fix-only .
	ruff format .

docs: .venv/.stamp ## Build the documentation site into site/ (strict)
	@export NO_MKDOCS_2_WARNING=1  # of a successor of the theme, decision 5
	mkdocs build --strict --quiet
	echo "site/index.html"

clean: ## Remove the environment and tool caches; data, models and the DVC cache stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A recipe is one script: the loops and tests above span lines.
.ONESHELL:
