# Everything a fresh machine needs is Python 3.11 and make: each target sets up its own environment.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := build/peers

# What `make bench` can be told: see tests/benchmarks/README.md.
export SCALE ROUNDS BYTES FOLDER

# Public data that some workflows use; not part of the project (workflows/egg/README.md tells where to get them).
export DAFLOW_DATA ?= $(abspath ../shared/data)

.PHONY: demo test check format bench chaos clean

demo: $(READY)  ## run the water flood, from a workflow file to a report
	$(BIN)/daflow run workflows/reservoir/workflow.yaml --run runs/reservoir

# More processes than the two cores of CI: tests wait for clocks, disks and processes of their own; those
# that do little else are apart. Threads of BLAS would only wait for each other.
WAITING := tests/slurm tests/hosts tests/chaos
test: export OPENBLAS_NUM_THREADS = 1
test: $(READY) check  ## pass every check and test
	$(BIN)/pytest $(WAITING:%=--ignore=%) --ignore=tests/end_to_end --numprocesses=3 --dist=loadfile \
		--durations=5 --cov --cov-report=
	$(BIN)/pytest $(WAITING) --numprocesses=4 --dist=worksteal --durations=5
	$(BIN)/pytest tests/end_to_end --numprocesses=3 --dist=loadfile --no-loadscope-reorder --durations=5 \
		--cov --cov-append --cov-report=term:skip-covered
	$(BIN)/coverage report --include="daflow/numerics/**,daflow/methods/**,daflow/runs/**" --fail-under=95 --skip-covered

check: $(READY)  ## style, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(PEERS)/.ready  ## measure daflow beside its limits and its peers: tests/benchmarks/README.md
	HOME=$(abspath $(PEERS)) OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	$(PEERS)/bin/pytest tests/benchmarks/test_contests.py $(if $(CASES),-k "$(CASES)") -q -s -W default --timeout=0 \
		--benchmark-enable --benchmark-columns=median,rounds --benchmark-json=build/measured.json
	PYTHONPATH=tests/benchmarks $(PEERS)/bin/python -m side_by_side.page build/measured.json

MINUTES ?= 60
SEED ?= 1
chaos: $(READY)  ## torment runs for so many minutes, by dice: tests/chaos/README.md
	$(BIN)/python -m tests.chaos.torment --minutes $(MINUTES) --seed $(SEED) --keep build/chaos.json
	$(BIN)/python -m tests.chaos.page build/chaos.json

clean:
	rm -rf $(VENV) build *.egg-info

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

$(PEERS)/.ready: pyproject.toml constraints.txt tests/benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --constraint constraints.txt --requirement tests/benchmarks/peers.txt --editable ".[test]"
	touch $@
