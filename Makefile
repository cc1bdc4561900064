# Joulebook's commands. Each prepares what it needs; `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The program of the one package that fits this machine: npm's launcher for it would need Node.
TSC := node_modules/@typescript/typescript-*/lib/tsc
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench drills lock clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Joulebook needs Python 3.11 or later, $(PYTHON) is $$($(PYTHON) --version); try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "a virtual environment cannot be made; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing Joulebook's dependencies into $(VENV)" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

node_modules/ready: package.json package-lock.json | $(VENV)/ready
	@$(BIN)/python scripts/assets.py --node-modules
	@touch $@

setup: $(VENV)/ready node_modules/ready ## prepare dependencies, page assets and database binaries
	@$(BIN)/python scripts/assets.py
	@$(BIN)/joulebook db provision

demo: setup ## run everything with a simulated home; Ctrl-C stops it
	@exec $(BIN)/joulebook demo

# Two processes, each with a TimescaleDB of its own; files in their order, browser tests last.
test: setup ## run the tests, on a TimescaleDB of their own
	$(PYTEST) --numprocesses 2 --dist loadfile --no-loadscope-reorder

drills: setup ## run the slow fault drills
	$(PYTEST) -m slow -s

bench: setup ## measure this machine and print ratios
	$(BIN)/python -m benchmarks

lint: $(VENV)/ready node_modules/ready ## check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TSC)
	$(BIN)/python scripts/tree_report.py

format: $(VENV)/ready ## bring the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: $(VENV)/ready ## choose the newest dependencies that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-header --group dev pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-header --group node --output-file requirements-node.lock

clean: ## remove what setup and tests made; data in ./var stays
	rm -rf $(VENV) node_modules dist src/joulebook/web/assets src/joulebook/ingest/assets
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis test-results
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
