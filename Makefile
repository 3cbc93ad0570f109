# Everything a fresh machine with Python 3.11 and make needs. `make help` lists the targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
CONFIG ?= config/seed.yaml

.DEFAULT_GOAL := help
.PHONY: help up test lint format bench fit proto clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# Rebuilt when what it is made of changes; the stamp is written last, so a broken install is retried.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

up: $(VENV)/.installed  ## run Envoy, the router and, where no key is set, stand-in providers
	$(BIN)/extproc up $(CONFIG)

test: $(VENV)/.installed  ## run every test, those with a real Envoy included
	$(BIN)/python -m pytest -m "not alone" --numprocesses 3 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -m alone

lint: $(VENV)/.installed  ## ruff and mypy, both strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed  ## let ruff fix and format what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed  ## what the router adds to a request, beside its peers; BENCH=--quick for a glance
	$(BIN)/python tests/bench/overhead.py $(BENCH)
	$(BIN)/python tests/bench/decision.py
	$(BIN)/python tests/bench/translation.py

fit: $(VENV)/.installed  ## fit the task classifier on DATA=folder of train.jsonl and dev.jsonl
	$(BIN)/python tests/bench/fit_task_classifier.py $(DATA)

proto: $(VENV)/.installed  ## generate extproc/wire/pb from proto/
	$(BIN)/python proto/generate.py

clean:  ## remove what the targets above made
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
