# Two commands: `make run` runs the default study, `make test` runs the tests. Both install what they need first.
PYTHON ?= python3
VENV ?= .venv
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
BIN := $(VENV)/bin

.PHONY: run test check format slurm-for-tests chromium-for-tests clean-environment

run: $(VENV)/installed
	$(BIN)/snakemake --cores $(CORES)

test: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile

check: $(VENV)/installed-test
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/snakefmt --check Snakefile workflow && $(BIN)/mypy
	$(BIN)/snakemake --lint

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/snakefmt Snakefile workflow

# What tests/slurm needs: Slurm from Debian packages. Where they cannot be installed, these tests say so and are skipped.
slurm-for-tests:
	command -v slurmctld slurmd slurmdbd munged mariadbd >/dev/null || { apt-get update -qq && \
		RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		slurm-wlm slurm-client slurmctld slurmd slurmdbd slurm-wlm-basic-plugins slurm-wlm-mysql-plugin \
		munge mariadb-server mariadb-client >/dev/null; } || echo "Slurm cannot be installed here: tests/slurm will be skipped"

# What tests of the page need: Chromium from Debian packages. Where it cannot be installed, these tests say so and are skipped.
chromium-for-tests:
	command -v chromium >/dev/null || command -v google-chrome >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation \
		>/dev/null; } || echo "Chromium cannot be installed here: the page will not be looked at in a browser"

clean-environment:
	rm -rf $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "headwise needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@
