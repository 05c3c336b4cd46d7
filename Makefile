# Everything runs from a virtual environment in .venv, made on first use.
# The first CPython of 3.11 or later; `make env PYTHON=/path/to/python` takes another.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$python && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
# What the demo needs, and with it all that the tests need (Ray and SLURM's submitit among it).
DEMO_STAMP = $(VENV)/.installed-demo
STAMP = $(VENV)/.installed
INSTALL = $(if $(PYTHON),$(PYTHON),$(error no CPython of 3.11 or later was found; name one: make env PYTHON=/path/to/python)) \
	release/environment.py $(VENV) --extras

.PHONY: help env demo test test-all test-gpu lint format picture docs release clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

env: $(STAMP)  ## make the environment

$(DEMO_STAMP): pyproject.toml
	$(INSTALL) demo
	touch $@

$(STAMP): pyproject.toml
	$(INSTALL) demo,coco,ray,slurm,loggers,dev
	touch $@ $(DEMO_STAMP)

demo: $(DEMO_STAMP)  ## run a real grid on the CPU and make its report
	$(BIN)/diadbench run demo

test: $(STAMP)  ## the tests
	$(BIN)/pytest -n 3 --dist worksteal -m "not slow"

test-all: $(STAMP)  ## the tests, the slow ones and the storms too
	$(BIN)/pytest -n 3 --dist worksteal

test-gpu: $(STAMP)  ## what holds on a GPU: on a real one, else on one that computes nothing (needs gcc)
	$(BIN)/pytest -n 2 tests/nullgpu tests/engines/test_gpus.py

lint: $(STAMP)  ## ruff, mypy --strict and pyright, on the checkout itself
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict -p diadbench
	$(BIN)/basedpyright --level error

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

picture: $(STAMP)  ## draw the rooms of the house from their imports (docs/pictures/house.png)
	$(BIN)/python docs/house.py

docs: $(STAMP)  ## build the site in build/site, without a warning
	$(INSTALL) demo,coco,ray,slurm,loggers,dev,docs
	DISABLE_MKDOCS_2_WARNING=true NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

release: $(STAMP)  ## build sdist and wheel in dist/, check them, try the wheel in empty environments
	$(INSTALL) demo,coco,ray,slurm,loggers,dev,release
	$(BIN)/python release/check.py

clean:  ## remove what can be made again
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
