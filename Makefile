# Everything from a fresh clone: `make demo` (the main job) and `make test` (all tests).
# Needs python3 (3.11 or later), make and git. TORCH_INDEX_URL picks a build of PyTorch (README.md).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked
DEMO := runs/demo
BENCHES := reading cold building step modules genes alignment workers prediction
PRIORS := --set priors.ppi=$(DEMO)/priors/ppi.tsv --set priors.pathways=$(DEMO)/priors/pathways.gmt

.PHONY: help setup demo test test-slow test-gpu lint types bench bench-learning clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       simulate, store, train, evaluate, sweep, report: minutes on two cores"
	@echo "make test       all tests but the slow ones"
	@echo "make test-slow  the tests that take minutes"
	@echo "make test-gpu   the tests that need a GPU; without one they are skipped"
	@echo "make lint types style and types"
	@echo "make bench      what is timed, beside what it is compared with: benchmarks/RESULTS.md, 20 minutes on two cores"
	@echo "make bench-learning  what cheaper settings learn, on the semi-synthetic screen: 20 minutes more"
	@echo "make setup      .venv with the locked versions; the others do it by themselves"

setup: $(STAMP)

# Done again only when the lock or the package's own metadata changes.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is older than 3.11; name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
ifdef TORCH_INDEX_URL
	$(BIN)/python -m pip install --index-url "$(TORCH_INDEX_URL)" "$$(grep '^torch==' requirements.lock)"
endif
	$(BIN)/python -m pip install --requirement requirements.lock
	$(BIN)/python -m pip install --no-deps --editable .
	touch $@

demo: setup
	rm -rf $(DEMO)
	mkdir -p $(DEMO)
	$(BIN)/scbig simulate $(DEMO)/screen.h5ad --cells 6000 --genes 600 --perturbations 20 --priors $(DEMO)/priors
	$(BIN)/scbig store build $(DEMO)/screen.h5ad $(DEMO)/store --config configs/demo.yaml
	$(BIN)/scbig store check $(DEMO)/store
	$(BIN)/scbig train configs/demo.yaml --store $(DEMO)/store $(PRIORS) -o $(DEMO)/run
	$(BIN)/scbig evaluate $(DEMO)/run
	$(BIN)/scbig report $(DEMO)/run
	$(BIN)/scbig sweep tune/demo.py --store $(DEMO)/store $(PRIORS) -o $(DEMO)/study
	$(BIN)/scbig report $(DEMO)/study
	@echo "The demo is done. Read $(DEMO)/study/report/report.html (one file, opens in any browser)."

test: setup
	$(BIN)/python -m pytest -m "not slow"

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-gpu: setup
	$(BIN)/python -m pytest tests/test_gpu.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@for each in $(BENCHES); do echo "== benchmarks.$$each"; $(BIN)/python -m benchmarks.$$each || exit 1; done
	rm -rf build/bench

bench-learning: setup
	$(BIN)/python -m benchmarks.learning

clean:
	rm -rf $(DEMO)
