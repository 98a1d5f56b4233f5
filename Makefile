# make demo   the whole chain on the embedded sample: DICOM → folds → EfficientNet-B3 → pF1 → submission.csv
# make test   every check: format, lint, types, import directions, tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: demo test lint install clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt Makefile
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,export,sweep,test]'
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

test: lint
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
