# What a newcomer types: `make demo`, `make test`. Everything happens in .venv and build/.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The first of these that is Python 3.11 or newer; `make PYTHON=… demo` chooses another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# Much of the tests is waiting for services: three share two cores well.
WORKERS ?= 3
PYTEST_ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
LOCK := $(BIN)/uv --no-config pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--custom-compile-command 'make lock' $(LOCK_ARGS)

.PHONY: help demo test lint typing format docs reference bench lock wheel images clean

help: ## show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

demo: .venv/installed-demo ## evaluate with real harnesses and build their site (no root, no containers)
	@$(BIN)/python -m docs.demo

test: .venv/installed-dev lint ## lint, type-check and run every test
	$(BIN)/pytest -n $(WORKERS) $(PYTEST_ARGS)

lint: .venv/installed-dev typing ## ruff, mypy and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

typing: .venv/installed-dev
	$(BIN)/mypy

format: .venv/installed-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/installed-dev ## build this project's own documentation
	$(BIN)/sphinx-build -W -n -q docs docs/_build/html
	@echo "file://$(CURDIR)/docs/_build/html/index.html"

reference: .venv/installed-dev ## write the reference pages that are made from the code
	$(BIN)/python -m docs.cli_reference
	$(BIN)/python -m docs.action_reference
	$(BIN)/python -m docs.run_configuration_reference

bench: .venv/installed-dev build/bench-venv/installed ## measure against what else one could have picked
	$(BIN)/python tests/benchmarks/run.py

wheel: .venv/installed-dev ## build the wheel and the source archive into dist/
	$(BIN)/uv --no-config build --quiet --no-build-isolation --python $(BIN)/python

# LOCK_ARGS=--upgrade takes the newest versions; without it the pins stay as far as they can.
lock: .venv/installed-dev ## pin every dependency again, with hashes
	$(LOCK) --extra dev pyproject.toml -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt pyproject.toml -o requirements/runtime.txt
	$(LOCK) -c requirements/dev.txt --extra site pyproject.toml -o requirements/site.txt
	$(LOCK) -c requirements/dev.txt --group pyproject.toml:build -o requirements/build.txt
	$(LOCK) --no-deps --group pyproject.toml:demo -o requirements/demo.txt
	$(LOCK) --no-deps --group pyproject.toml:reference -o requirements/reference.txt
	$(LOCK) --group pyproject.toml:bench -o requirements/bench.txt
	for harness in mmath bfcl; do \
		$(LOCK) catalog/harnesses/$$harness/requirements.in -o catalog/harnesses/$$harness/requirements.txt; done

# After a change below catalog/harnesses/quickcheck: its image, the IR and the tables that are made of them.
images: .venv/installed-dev ## pack this project's own harnesses anew
	$(BIN)/evaldock pack catalog/harnesses/quickcheck --to oci:catalog/images/quickcheck:1.0.0 \
		--platform linux/amd64 --platform linux/arm64
	$(BIN)/evaldock sync --catalog catalog
	$(BIN)/evaldock readme --catalog catalog README.md

clean: ## remove what was built, not .venv
	rm -rf build dist docs/_build docs/task_catalog .pytest_cache .mypy_cache .ruff_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "evaldock needs Python 3.11 or newer; none was found (make PYTHON=/path/to/python …)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) can't make virtual environments. On Debian, as root: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv .venv

# The project itself comes in editable, built by the pinned hatchling.
.venv/installed-demo: requirements/site.txt requirements/build.txt pyproject.toml | .venv/bin/python
	$(PIP) --require-hashes -r requirements/site.txt -r requirements/build.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# What is measured against has requirements that contradict ours.
build/bench-venv/installed: requirements/bench.txt | .venv/bin/python
	$(BIN)/python -m venv build/bench-venv
	build/bench-venv/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
		--require-hashes -r requirements/bench.txt
	@touch $@

.venv/installed-dev: requirements/dev.txt requirements/build.txt pyproject.toml | .venv/bin/python
	$(PIP) --require-hashes -r requirements/dev.txt -r requirements/build.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
