# `make app` and `make test` do their own set-up from a bare clone: they need Python >= 3.11 and nothing else.

VENV ?= .venv
# Taken from the first of these that is new enough and can make virtual environments; or say PYTHON=/path/to/python.
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14 python
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach p,$(CANDIDATES),$(shell $(p) -c '$(USABLE)' >/dev/null 2>&1 && echo $(p))))
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
ARGS ?=

.PHONY: help app test docs lint format wheel clean

help:
	@echo "make app      set up $(VENV) and open the app in the browser (ARGS='--port 8600' for another port)"
	@echo "make test     set up $(VENV) and run every check and test (ARGS='-m \"not slow\"' for the quick ones)"
	@echo "make docs     build the documentation as a site in site/"
	@echo "make lint     ruff, mypy and the import contracts only"
	@echo "make format   let ruff order imports and format the code"
	@echo "make wheel    build dist/*.whl"
	@echo "make clean    remove $(VENV) and everything that was built"

app: $(VENV)/.installed-app
	$(VENV)/bin/ptviz app $(ARGS)

test: $(VENV)/.installed-test
	# Two at a time, one thread each: threads of two processes on few cores wait for each other.
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile $(ARGS)

docs: $(VENV)/.installed-test
	# The variable silences a notice about the theme's successor.
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict $(ARGS)

lint: $(VENV)/.installed-test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed-test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

wheel: $(VENV)/.installed-test
	$(VENV)/bin/python -m build --wheel

clean:
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# The stamps make a second call quick; a change of what is required installs again.
$(VENV)/.installed-app: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) install -c constraints.txt -e ".[embedded]"
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) install -c constraints.txt -e ".[embedded,test,docs,ray,tensorboard,png]"
	@touch $@ $(VENV)/.installed-app

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "ptviz needs Python >= 3.11 with venv; none of '$(CANDIDATES)' is. Install one, or name it: make app PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
