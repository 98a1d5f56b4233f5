# make demo   the whole chain on the embedded sample: DICOM → folds → EfficientNet-B3 → pF1 → submission.csv
# make bench  every benchmark at a small size, and how far it moved since the last time
# make test   every check: format, lint, types, import directions, tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TEST_WORKERS ?= 2
# Of the machine that gpu-wheels fetches for.
GPU_PYTHON ?= 3.12

.PHONY: demo test lint install clean bench gpu-check gpu-wheels

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,cpu,export,sweep,cluster,test]'
	@touch $@

demo: install
	$(BIN)/python train.py experiment=demo fold=all
	$(BIN)/python infer.py run=runs/demo input=data/demo out=runs/demo/submission.csv
	$(BIN)/rsna leaderboard

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Files of tests go to as many processes as TEST_WORKERS says, and one that crashes is named with its test. Runtimes of
# networks, and training with its loaders, have a process each, as in use: they take every core, and together they hold more
# native libraries, threads and memory than anybody's.
test: lint
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --ignore tests/inference --ignore tests/training
	$(BIN)/python -m pytest tests/inference
	$(BIN)/python -m pytest tests/training

bench: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/all.py

# On the machine with the GPU: its own torch, timm and Lightning, and what gpu-wheels fetched where there is a network.
gpu-check:
	$(PYTHON) benchmarks/gpu_wheels.py --install
	PYTHONPATH=$(CURDIR)/build/gpu-site:$$PYTHONPATH $(PYTHON) benchmarks/gpu.py --json docs/results/gpu.json

gpu-wheels:
	$(PYTHON) benchmarks/gpu_wheels.py --python $(GPU_PYTHON)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
