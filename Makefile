# On a machine with python3 (3.11 or newer), git and make:
#   make         the whole study on params.yaml; ends with the report
#   make smoke   the same in a minute, tiny, in a clone of its own (.smoke): does everything work?
#   make test    the tests
# All make .venv first, from the lock; tests add what they need to it. Interrupted, `make` goes on
# where it was.

PYTHON ?= python3
PYTHONS := 3.11.0 3.12 3.13 3.14
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# A user of a container may have none, and tools stop without.
export HOME ?= /tmp

.PHONY: study smoke verify publish check-proof test test-slow test-slurm lint format docs linkcheck lock check-lock
.DEFAULT_GOAL := study

study: .venv/installed
	snakemake --cores all
	@echo "The report: reports/html/index.html"

# The last commit (not what is uncommitted) with smoke's parameters: the clone's own code runs there.
smoke: .venv/installed
	rm -rf .smoke && git clone --quiet . .smoke && cp .smoke/presets/smoke.yaml .smoke/params.yaml
	cd .smoke && PYTHONPATH="$$PWD/src" snakemake --cores all
	@echo "The report: .smoke/reports/html/index.html"

# What is on disk beside what is committed: the same bytes, the same within a tolerance, or different.
verify: .venv/installed
	air verify

# Compute the study of params.yaml in a fresh copy and keep what belongs in git, ready to be committed.
publish: .venv/installed
	python workflow/scripts/proof.py publish

# Whether the last commit's dvc.lock is true; computes the study in a clone unless that was done.
check-proof: .venv/installed
	python workflow/scripts/proof.py check

test: .venv/developer
	pytest -n 2

# The whole pipeline in scratch clones: both engines, interruptions, a remote.
test-slow: .venv/developer
	pytest -m slow -n 2 --dist loadfile --durations=10

# On a Slurm of its own on this machine: needs Debian's slurmctld, slurmd, slurm-client and munge.
test-slurm: .venv/developer
	pytest -s tests/cluster/slurm.py

lint: .venv/developer
	ruff check .
	ruff format --check .
	snakefmt --check .
	snakemake --lint
	mypy

format: .venv/developer
	ruff check --fix .
	ruff format .
	snakefmt .

# The site. Every warning is an error: a link that leads nowhere, a name that nothing has.
docs: .venv/developer
	sphinx-build -W --keep-going -n -q docs docs/_build/html
	@echo "The site: docs/_build/html/index.html"

# Links to other sites, which needs a network.
linkcheck: .venv/developer
	sphinx-build -q -b linkcheck docs docs/_build/linkcheck

# What the study needs, and (below) what tests, checks and documentation need besides. The lock says
# in which versions.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("air needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Installing the locked environment into .venv (a minute or two)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[pipeline,hub]'
	@touch $@

.venv/developer: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[pipeline,hub,s3,ssh,slurm,docs,dev]'
	@touch $@

# Newest versions of everything that pyproject.toml names and that fit the oldest Python it allows,
# for requirements.lock and environment.yml. PyTorch brings CUDA libraries of its own where it needs
# them, so they are left out.
lock: .venv/developer
	uv pip compile --quiet --system-certs --upgrade --all-extras --python-version $(firstword $(PYTHONS)) \
	    --no-header --no-annotate pyproject.toml --output-file .lock
	grep -vE '^(cuda|nvidia|triton)' .lock > requirements.lock && rm .lock
	{ sed '/^  - pip:/,$$d' environment.yml; echo '  - pip:'; sed 's/^/      - /' requirements.lock; } > .lock
	mv .lock environment.yml

# Whether the lock can be installed on every Python that pyproject.toml names, without installing it.
check-lock: .venv/developer
	@for version in $(PYTHONS); do echo "requirements.lock on Python $$version"; \
	    uv pip compile --quiet --system-certs --python-version $$version requirements.lock > /dev/null || exit 1; done
