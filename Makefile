# What people type here. 'make' alone lists it.

# The first that is new enough; the images have 3.11, so that is the best one to have here too.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$python"; break; }; done)

BIN := .venv/bin
PYTEST := $(BIN)/pytest
# Two tests at a time, never two of a file; those with containers have a core each.
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# What is installed in .venv: these are younger than the locks that they stand for.
RUNTIME := .venv/runtime.installed
DEV := .venv/dev.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test lint unit containers browser golden pictures docs dev lock clean

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 19

run: $(RUNTIME) ## the quick profile: minutes; ARGS='--only ...' are handed on
	$(BIN)/rosetta run --profile quick $(ARGS)

test: lint unit containers browser ## everything below; ROSETTA_REQUIRE_ENGINE=1 makes a missing engine a failure

lint: $(DEV) ## style, types, shell scripts, Dockerfile, tables of versions, links of the documentation
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/compare .ci/engine .ci/node-image .ci/run .ci/tools images/*.sh
	$(BIN)/hadolint orchestrator/Dockerfile
	$(BIN)/rosetta images table --check
	@$(MAKE) --no-print-directory docs

unit: $(DEV) ## tests that need no engine
	$(PYTEST) $(TWO) tests/unit

containers: $(DEV) ## tests with real containers and services, skipped where no engine or service is
	$(PYTEST) $(TWO) -m 'not alone' tests/containers tests/storage
	$(PYTEST) -m alone tests/containers

browser: $(DEV) ## tests of the pages in headless Chromium, skipped where there is none
	$(PYTEST) $(TWO) tests/browser

golden: $(DEV) ## write what the unit tests compare with (Dockerfiles, tables): see the difference before you commit it
	ROSETTA_GOLDEN=write $(PYTEST) --quiet tests/unit/images/test_images.py tests/unit/plan/test_cards.py \
		tests/unit/report/test_reference.py -k 'golden or document'

pictures: $(DEV) ## make README's tables and the pictures in docs/ from docs/results
	$(BIN)/rosetta table docs/results --into README.md
	$(BIN)/python docs/pictures/make.py

docs: $(DEV) ## the documentation as a site, site-docs/index.html; every link in it is checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dev: $(DEV) ## install the tools for development into .venv

lock: $(DEV) ## resolve this program's own dependencies anew; UPGRADE=1 takes the newest
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

# uv takes no notice of pip's settings.
COMPILE = $(if $(PIP_CERT),SSL_CERT_FILE=$(PIP_CERT)) $(BIN)/uv pip compile pyproject.toml --extra azure --extra report --quiet \
	--universal --python-version 3.11 --group build --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

clean: ## remove .venv and caches; results stay
	rm -rf site-docs .venv .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed, and none was found." \
		"If it is there under another name: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments." \
		"On Debian and Ubuntu: sudo apt-get install $$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv

$(RUNTIME): requirements.lock pyproject.toml $(BIN)/python
	$(PIP) --require-hashes --requirement requirements.lock
	$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	$(PIP) --require-hashes --requirement requirements-dev.lock
	@touch $@
