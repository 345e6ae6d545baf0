# The commands of the ASK book. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON  ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c "" 2>/dev/null && echo $$p && break; done)
VENV    ?= .venv
PROFILE ?= book
NB      ?=
URL     ?=
PORT    ?= 8000
MINUTES ?= 8
RUN      = $(VENV)/bin/python
WORKERS ?= -n 2 --dist loadfile --no-loadscope-reorder
PARAMS  ?=

export PYTHONUNBUFFERED := 1
# What a person types freely reaches the tools through the environment, as typed: no quote, space or $ is read twice.
export ASK_PARAMS := $(value PARAMS)
export ASK_URL := $(value URL)

.PHONY: help
help: ## list the commands
	@echo "The ASK book. Commands:"
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Settings: PROFILE=smoke|book|gpu|paper (now $(PROFILE)), NB=name of a chapter (notebook, check, expect),"
	@echo "          PARAMS='NAME=value OTHER=another value',"
	@echo "          PYTHON=python3.11, VENV=folder, BROWSER=skip (tests without Chromium), ASK_REALDATA=folder of real files"

.PHONY: env
env: ## make the environment in .venv (only when its inputs changed)
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "error: Python 3.11, 3.12 or 3.13 is needed, '$(PYTHON)' is none; name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) tools/environment.py --venv $(VENV)

.PHONY: book
book: env ## execute the chapters (PROFILE=book) and render the pages
	@$(RUN) -m tools.execute --profile $(PROFILE)
	@$(RUN) -m tools.render --profile $(PROFILE)

.PHONY: test
test: env ## run all tests, the chapters at the smoke profile and the rendered pages in Chromium
	@$(RUN) -m tools.check_browser
	@$(RUN) -m tools.execute --profile smoke
	@$(RUN) -m tools.render --profile smoke
	@$(RUN) -m pytest $(WORKERS) $(ARGS)

.PHONY: test-fast
test-fast: env ## run the tests that need no chapter, no page, no browser and less than ten seconds each
	@$(RUN) -m pytest -m "not slow and not browser and not built" $(WORKERS) $(ARGS)

.PHONY: notebook
notebook: env ## execute one chapter: make notebook NB=00_start_here PROFILE=smoke PARAMS='IMAGES=my pictures'
	@$(RUN) -m tools.execute $(or $(NB),00_start_here) --profile $(PROFILE) --typed-parameters

.PHONY: weights
weights: env ## train the networks that ship again (about three quarters of an hour); an interrupted run goes on
	@$(RUN) -m experiments.weights

.PHONY: gpu
gpu: env ## run everything that asks for a GPU: its tests, the benchmarks, recorded runs (MINUTES=8) into _build/gpu
	@$(RUN) -m experiments.gpu --minutes $(MINUTES)

.PHONY: check
check: env ## check a profile's rendered pages and recorded values, without a browser: make check PROFILE=book
	@$(RUN) -m tools.check_pages --profile $(PROFILE)
	@$(RUN) -m tools.expect $(NB) --profile $(PROFILE)

.PHONY: serve
serve: env ## serve the rendered pages at http://127.0.0.1:8000 (PORT=...)
	@test -f _build/html/index.html || { echo "error: nothing is rendered yet; run: make book" >&2; exit 1; }
	@$(RUN) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

.PHONY: lint
lint: env ## ruff, mypy, the workflows, the notebooks' first cells
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(VENV)/bin/zizmor --offline --quiet .github/workflows
	@$(RUN) -m tools.notebooks --check

.PHONY: expect
expect: env ## write the expected values anew (NB=01_scda: of one chapter); read the difference before you commit it
	@$(RUN) -m tools.expect $(NB) --profile $(PROFILE) --write

.PHONY: repository
repository: env ## set the repository's address everywhere: make repository URL=https://github.com/OWNER/NAME
	@$(RUN) -m tools.notebooks --repository "$$ASK_URL"

.PHONY: lock
lock: env ## resolve constraints.txt anew from pyproject.toml
	@$(VENV)/bin/uv pip compile pyproject.toml --all-extras --python-version 3.11 --universal \
	  --no-header --no-annotate --no-emit-index-url --upgrade --quiet --output-file constraints.txt

.PHONY: clean
clean: ## remove all that was built, but not the environment
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: distclean
distclean: clean ## remove the environment too
	rm -rf $(VENV) *.egg-info
