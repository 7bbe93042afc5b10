# `make demo`, `make test`, `make serve`: each makes .venv when it is missing or out of date.
# Needs Python 3.11 or newer, git and make. Nothing is installed outside of .venv.

PYTHON ?= python3
ARGS ?=

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
READY := $(VENV)/.ready
MANIFESTS := pyproject.toml hatch_build.py $(sort $(wildcard plugins/*/pyproject.toml))
DISTRIBUTIONS := $(patsubst %,-e %,$(patsubst %/,%,$(dir $(filter %pyproject.toml,$(MANIFESTS)))))

# The environment is out of date, too, when its Python is gone or too old, when the folder was moved (what is
# installed editable is found by its path), and when PYTHON is given and is another one.
VERSION_OF = $(shell $(1) -c 'import sys; sys.version_info >= (3, 11) and print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
HAVE := $(call VERSION_OF,$(RUN))
WANT := $(if $(filter file default undefined,$(origin PYTHON)),$(HAVE),$(call VERSION_OF,$(PYTHON)))
FITS := $(and $(HAVE),$(filter $(HAVE),$(WANT)))
PLACE := $(shell cat $(READY) 2>/dev/null)
OUTDATED := $(if $(and $(FITS),$(filter $(CURDIR),$(PLACE))),,outdated)

.DEFAULT_GOAL := help
.PHONY: help demo test serve venv outdated

help:  ## Say what can be made
	@echo 'make demo    release a movie, and see whom it reaches by e-mail, Telegram and SMS'
	@echo 'make serve   the same project to click through, with its admin'
	@echo 'make test    the whole suite: SQLite, and the databases that answer (ARGS="-k fanout" for pytest)'
	@echo 'make venv    only .venv, with what these need; PYTHON=python3.12 chooses the Python'
	@echo 'Every other check is a nox session; after .venv/bin/python -m pip install --group nox: .venv/bin/nox -l'

demo: $(READY)
	@echo '--> The demo: examples/cinema/demo.py'
	@$(RUN) examples/cinema/demo.py $(ARGS)

serve: $(READY)
	@echo '--> The cinema and its admin: examples/cinema/serve.py (Ctrl-C ends it)'
	@$(RUN) examples/cinema/serve.py $(ARGS)

test: $(READY)
	@echo '--> The whole suite: tests/ and plugins/*/tests'
	@$(RUN) -m tests.run $(ARGS)

venv: $(READY)

outdated:

# Not compiled at once: of what is installed most is never imported, and Python compiles the rest as it is used.
$(READY): Makefile $(MANIFESTS) $(OUTDATED)
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	    echo "There is no $(PYTHON) here. Install Python 3.11 or newer, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "$(PYTHON) does not run, or is older than 3.11: $$($(PYTHON) --version 2>&1 | head -n 1). Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments: its module venv or ensurepip is missing. On Debian and Ubuntu: sudo apt install python3-venv" >&2; \
	    exit 1; }
	@if [ -z "$(FITS)" ]; then \
	    echo "--> Making $(VENV) with $$($(PYTHON) --version)"; \
	    rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); \
	else \
	    echo "--> Bringing $(VENV) up to date"; \
	    $(RUN) -m pip --version >/dev/null 2>&1 || $(RUN) -m ensurepip; \
	fi
	@rm -f $(READY)
	@echo '--> Installing dsn-core, its plugins and what the tests and the demo need, into $(VENV) only'
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --no-compile $(DISTRIBUTIONS) --group test --group demo
	@$(PIP) install --group mariadb >$(VENV)/mysqlclient.log 2>&1 || \
	    echo '--> mysqlclient could not be built here (why: $(VENV)/mysqlclient.log): tests on MariaDB will be skipped; make -B venv tries again'
	@echo '$(CURDIR)' >$(READY)
