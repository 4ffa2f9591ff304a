# Everything a fresh machine needs is Python 3.11 and make: each target sets up its own environment.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Public data that some workflows use; not part of the project (workflows/egg/README.md tells where to get them).
export DAFLOW_DATA ?= $(abspath ../shared/data)

.PHONY: demo test check format bench clean

demo: $(READY)  ## run the water flood, from a workflow file to a report
	$(BIN)/daflow run workflows/reservoir/workflow.yaml --run runs/reservoir

test: $(READY) check  ## pass every check and test
	$(BIN)/pytest --cov --cov-report=term:skip-covered
	$(BIN)/coverage report --include="daflow/numerics/*,daflow/methods/*,daflow/runs/*" --fail-under=95 --skip-covered

check: $(READY)  ## style, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## measure what daflow exists for against the limits of this machine
	$(BIN)/pytest tests/benchmarks --benchmark-enable --benchmark-only --benchmark-min-rounds=5

clean:
	rm -rf $(VENV) build *.egg-info

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
