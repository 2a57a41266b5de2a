# Each command sets up what it needs: a virtual environment from the lock, with hashes, once. Nothing but Python 3.11+,
# make and a shell is expected on the machine.

# The first interpreter that is new enough; `make PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$python"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint lock clean

help:
	@echo "make demo               the invoice process with sample invoices; serves until Ctrl-C"
	@echo "make demo ARGS=--once   the same, answers the open tasks, checks every end and stops"
	@echo "make demo ARGS=--live   the same with the model of your configuration"
	@echo "make test               the tests, on SQLite and PostgreSQL; ARGS goes to pytest"
	@echo "make coverage           how much of the engine its own tests reach"
	@echo "make lint               style, types and layers"
	@echo "make lock               resolve the dependencies anew into requirements.lock"
	@echo "make clean              remove the virtual environment and the caches"

demo: $(INSTALLED)
	@$(BIN)/python -m examples.invoice.demo $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

coverage: $(INSTALLED)
	$(BIN)/python -m pytest tests/workflows tests/storage -q -n auto -m "not postgresql" \
		--cov=toolkit.workflows --cov-report=term

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/basedpyright --pythonpath $(BIN)/python tests/typing

# The resolver is no part of what it resolves.
lock: $(INSTALLED)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--all-extras --group dev --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage

# The stamp is written last: an installation that was interrupted is done again.
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or run make PYTHON=/path/to/python"; exit 2; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian: python3-venv)"; exit 2; }
	@echo "Installing into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
