# One command per need; `make` alone lists them. Everything happens in .venv, with the versions in constraints.txt.
#   PYTHON=python3.12   which Python makes the environment (3.11 or newer; a change rebuilds it)
#   OUT=runs/demo       where the demo writes
#   PYTEST_ARGS=...     passed on to pytest

PYTHON ?=
OUT ?= runs/demo
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
DOCS_STAMP := $(VENV)/.docs-done
PLUGINS := $(wildcard plugins/*/pyproject.toml)
EDITABLE_PLUGINS := $(patsubst %/pyproject.toml,-e ./%,$(PLUGINS))
TORCH_VERSION := 2.11.0
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
VERSION_OF := import sys; print("%d.%d" % sys.version_info[:2])

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format types docs bench lock clean FORCE

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

# A Python named on the command line that is not the environment's makes set-up run again.
ifneq ($(strip $(PYTHON)),)
ifneq ($(shell $(PYTHON) -c '$(VERSION_OF)' 2>/dev/null),$(shell sed -n 1p $(STAMP) 2>/dev/null))
$(STAMP): FORCE
endif
endif

setup: $(STAMP) ## the environment in .venv: uv where it can, else pip
	@echo "$(VENV) is ready: Python $$(sed -n 1p $(STAMP)); its set-up took $$(sed -n 2p $(STAMP)) s"

$(STAMP): pyproject.toml constraints.txt $(PLUGINS)
	@set -eu; begin=$$(date +%s); python="$(strip $(PYTHON))"; \
	if [ -z "$$python" ]; then \
	    for candidate in $(BIN)/python python3 python3.14 python3.13 python3.12 python3.11; do \
	        if "$$candidate" -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	    done; \
	fi; \
	if ! "$$python" -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then \
	    echo "set-up needs Python 3.11 or newer, got '$${python:-none}'; name one: make setup PYTHON=python3.12" >&2; exit 1; \
	fi; \
	version=$$("$$python" -c '$(VERSION_OF)'); \
	if [ "$$($(BIN)/python -c '$(VERSION_OF)' 2>/dev/null || true)" != "$$version" ]; then \
	    echo "making $(VENV) with Python $$version"; \
	    rm -rf $(VENV); \
	    if command -v uv >/dev/null 2>&1; then \
	        uv venv --quiet --python "$$("$$python" -c 'import sys; print(sys.executable)')" $(VENV); \
	    elif ! "$$python" -m venv $(VENV); then \
	        rm -rf $(VENV); \
	        echo "'$$python -m venv' failed: install your system's python3-venv package, or uv" >&2; exit 1; \
	    fi; \
	fi; \
	if command -v uv >/dev/null 2>&1; then install="uv pip install --python $(BIN)/python"; \
	elif [ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; then \
	    install="$(BIN)/uv pip install --python $(BIN)/python"; \
	else echo "uv cannot be installed, using pip"; \
	    install="$(BIN)/python -m pip install --disable-pip-version-check"; \
	fi; \
	$$install -c constraints.txt -e '.[dev]' $(EDITABLE_PLUGINS); \
	seconds=$$(( $$(date +%s) - begin )); \
	printf '%s\n%s\n' "$$version" "$$seconds" > $(STAMP); \
	echo "set-up took $$seconds s"

demo: $(STAMP) ## set-up if needed, then from audio to report.html in OUT
	$(BIN)/stlm demo --system tiny-base --minutes 13 --out $(OUT)

test: lint types ## set-up if needed, lint, types, then the quick tests
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: lint types ## the same with the slow proofs; the parity kit must be there (STLM_SHARED)
	STLM_REQUIRE_SHARED=1 $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(STAMP) ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## pyright, strict where plugin authors build
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: $(DOCS_STAMP) ## the documentation in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(DOCS_STAMP): $(STAMP)
	@if command -v uv >/dev/null 2>&1; then install="uv pip install --python $(BIN)/python"; \
	elif [ -x $(BIN)/uv ]; then install="$(BIN)/uv pip install --python $(BIN)/python"; \
	else install="$(BIN)/python -m pip install --disable-pip-version-check"; fi; \
	$$install -c constraints.txt -e '.[docs]'
	@touch $@

bench: $(STAMP) ## the numbers that the docs quote
	$(BIN)/python benchmarks/feed.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/encode.py
	$(BIN)/python plugins/stlm-hifigan/benchmarks/vocode.py

lock: $(STAMP) ## resolve constraints.txt again (LOCK_ARGS=--upgrade for newer versions)
	@set -eu; uv=$$(command -v uv || echo $(BIN)/uv); made=$$(mktemp); cp constraints.txt "$$made"; \
	printf '%s\n' '-e .[dev,docs]' $(foreach plugin,$(PLUGINS),'-e ./$(patsubst %/,%,$(dir $(plugin)))') \
	    'torch==$(TORCH_VERSION)' 'torchaudio==$(TORCH_VERSION)' \
	| "$$uv" pip compile --quiet --universal --python-version 3.11 --no-header $(LOCK_ARGS) \
	    $(foreach plugin,stlm $(notdir $(patsubst %/pyproject.toml,%,$(PLUGINS))),--no-emit-package $(plugin)) \
	    - -o "$$made"; \
	{ echo '# Versions for Python 3.11 and newer, made by `make lock`; install with: pip install -c constraints.txt'; \
	  sed '/^# /d' "$$made"; } > constraints.txt; \
	rm -f "$$made"

clean: ## remove what was built, keep .venv and runs
	rm -rf build dist site .cache .benchmarks .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	find src plugins tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
