# Every target does its own set-up, once: a virtual environment in .venv, the packages the target needs, and the
# system's MariaDB server and Chromium where a target starts them. Nothing is asked of the network the second time.
#
#   make demo PYTHON=python3.13      choose the Python that .venv is made with
#   make test ARGS="-k topology -x"  pass arguments on (also: make bench ARGS="--only routing")

SHELL := /bin/bash
VENV ?= .venv
MINUTES ?= 5
STAMPS := $(VENV)/stamps
RUN := $(VENV)/bin/python
PYTHONS := $(wildcard $(addprefix $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/,3.10.*/bin/python 3.13.*/bin/python))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1

.PHONY: help demo test lint format chaos run-chaos bench run-benchmarks conformance conformance-routing docs clean servers browser

help:
	@echo 'make demo    a cluster of real servers, the shop on it, and the kill of its writer under load'
	@echo 'make test    the whole test suite'
	@echo 'make lint    ruff and mypy'
	@echo 'make format  let ruff mend what it can'
	@echo 'make chaos   a bank at work while its servers die, freeze and change roles (MINUTES=5 SEED=7 ENGINE=mysql)'
	@echo 'make bench   what we cost, next to others, on one cluster in one run'
	@echo 'make conformance  Django'"'"'s own tests, on our engines and on its own, oldest and newest (ARGS=--all)'
	@echo 'make conformance-routing  Django'"'"'s own tests on SQLite, with our routers and without'
	@echo 'make docs    the documentation, in docs/_build/html'
	@echo 'make clean   remove what these targets made'

demo: $(STAMPS)/base servers
	@$(RUN) -m testproject.demo

test: $(STAMPS)/test servers browser
	$(RUN) -m pytest $(ARGS)

lint: $(STAMPS)/test $(STAMPS)/lint
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(STAMPS)/lint
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

# Without SEED by chance; it is printed. mysqlclient is installed where the tests do not find it.
chaos:
	@$(MAKE) --no-print-directory $(if $(filter mysql,$(ENGINE)),VENV=$(VENV)-peers) run-chaos

run-chaos: $(STAMPS)/base $(if $(filter mysql,$(ENGINE)),$(STAMPS)/mysqlclient) servers
	@$(RUN) -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

# In an environment of its own: the packages we are measured against have no business in the tests.
bench:
	@$(MAKE) --no-print-directory VENV=$(VENV)-peers run-benchmarks

run-benchmarks: $(STAMPS)/peers servers
	@$(RUN) -m benchmarks $(ARGS)

# With the oldest and the newest Django that is supported, on Python 3.10 and 3.13 where PATH or pyenv has them. Without
# mysqlclient, which must be built (Debian: libmariadb-dev pkg-config gcc), each test of Django's has to pass.
conformance: $(STAMPS)/tox servers
	@$(RUN) -m tox run $(if $(PYTHONS),--discover $(PYTHONS)) -e conformance-oldest,conformance-newest -- $(ARGS)

conformance-routing: $(STAMPS)/base
	@$(RUN) scripts/conformance.py --routing $(ARGS)

docs: $(STAMPS)/docs
	$(RUN) -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	@echo 'The documentation is in docs/_build/html/index.html'

# The lab knows best which server it can use; the packages are installed only when it finds none.
servers: $(STAMPS)/base
	@$(RUN) scripts/find_server.py 2>/dev/null || { scripts/install-server && $(RUN) scripts/find_server.py; }

# The tests that need a browser are skipped, and say so, where none can be had.
browser: $(STAMPS)/base
	@$(RUN) -m tests.admin.browser >/dev/null 2>&1 || scripts/install-browser || \
		echo '[setup] no browser here: the tests that need one will be skipped' >&2

# One stamp an extra of setup.cfg. A change there makes the environment anew, so it never holds what is not declared.
$(STAMPS)/base: setup.cfg
	@PYTHON='$(PYTHON)' scripts/make-venv '$(VENV)'
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/%: $(STAMPS)/base
	@echo '[setup] installing what "$*" needs'
	@$(RUN) -m pip install --quiet --editable '.[$*]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-peers .tox .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
