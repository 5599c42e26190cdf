# On a machine with python3 (3.11 or newer), git and make:
#   make         the whole study on params.yaml; ends with the report
#   make smoke   the same in a minute, tiny, in a clone of its own (.smoke): does everything work?
#   make test    the tests
# All make .venv first, from the lock. Interrupted, they go on where they were.

PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: study smoke test test-slow test-slurm lint format docs linkcheck lock
.DEFAULT_GOAL := study

study: .venv/installed
	snakemake --cores all
	@echo "The report: $(CURDIR)/reports/html/index.html"

# The last commit, as params.yaml would have it: the clone's own code runs there.
smoke: .venv/installed
	rm -rf .smoke && git clone --quiet . .smoke && cp presets/smoke.yaml .smoke/params.yaml
	cd .smoke && PYTHONPATH=$(CURDIR)/.smoke/src snakemake --cores all
	@echo "The report: $(CURDIR)/.smoke/reports/html/index.html"

test: .venv/installed
	pytest -n 2

# The whole pipeline in scratch clones: both engines, interruptions, a remote.
test-slow: .venv/installed
	pytest -m slow -n 2 --dist loadfile --durations=10

# On a Slurm of its own on this machine: needs Debian's slurmctld, slurmd, slurm-client and munge.
test-slurm: .venv/installed
	pytest -s tests/cluster/slurm.py

lint: .venv/installed
	ruff check .
	ruff format --check .
	snakefmt --check .
	snakemake --lint
	mypy

format: .venv/installed
	ruff check --fix .
	ruff format .
	snakefmt .

# The site. Every warning is an error: a link that leads nowhere, a name that nothing has.
docs: .venv/installed
	sphinx-build -W --keep-going -n -q docs docs/_build/html
	@echo "The site: $(CURDIR)/docs/_build/html/index.html"

# Links to other sites, which needs a network.
linkcheck: .venv/installed
	sphinx-build -q -b linkcheck docs docs/_build/linkcheck

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("air needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Installing the locked environment into .venv (a minute or two)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

# Newest versions of everything that pyproject.toml names, written to the lock and environment.yml.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --editable '.[pipeline,hub,s3,ssh,slurm,docs,dev]'
	.venv-lock/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock
	rm -rf .venv-lock
	{ sed '/^  - pip:/,$$d' environment.yml; echo '  - pip:'; sed 's/^/      - /' requirements.lock; } > environment.tmp
	mv environment.tmp environment.yml
