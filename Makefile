# make run            segment samples/images into outputs; for your own: make run IN=folder OUT=folder
# make test           formatting, lint, types of the predictor and its tests, without PyTorch
# make test-training  types of all else, and the tests of training, which need PyTorch
# make test-system    what takes size, kills or time; make smoke: two minutes of it
# make container      build the image for the CPU, run it in every way, save it in runs/container
# make lock           re-make the lock files from the .in files; a pin that still fits is kept: delete a lock to move them all
# make clean          remove the environment and the caches
#
# All set up .venv by themselves, once, and again whenever a lock file changes.

PYTHON ?= python3
IN ?= samples/images
OUT ?= outputs

VENV_PYTHON := .venv/bin/python
PIP := $(VENV_PYTHON) -m pip --disable-pip-version-check
PYTEST := $(VENV_PYTHON) -m pytest
# Tests of one file stay together, for they share what takes time to make.
ON_ALL_CORES := -n auto --maxprocesses 4 --dist loadfile
COMPILE := $(VENV_PYTHON) -m uv pip compile --quiet --generate-hashes \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28

# As they were given, whatever characters are in them.
run: export IN_FOLDER = $(value IN)
run: export OUT_FOLDER = $(value OUT)

.PHONY: run test test-training test-system smoke container lock clean

run: .venv/runtime.stamp
	$(VENV_PYTHON) -m app "$$IN_FOLDER" "$$OUT_FOLDER" --results all

test: .venv/test.stamp
	$(VENV_PYTHON) -m ruff format --check
	$(VENV_PYTHON) -m ruff check
	.venv/bin/hadolint Dockerfile
	$(VENV_PYTHON) -m mypy app tests/app tests/system
	$(PYTEST) $(ON_ALL_CORES) tests/app

test-training: .venv/training.stamp
	$(VENV_PYTHON) -m mypy
	$(PYTEST) $(ON_ALL_CORES) tests/training

test-system: .venv/system.stamp
	$(PYTEST) tests/system

smoke: .venv/system.stamp
	$(PYTEST) tests/system -m smoke

container: .venv/test.stamp
	$(VENV_PYTHON) -m container.prove

lock: .venv/pyvenv.cfg
	$(PIP) install --quiet uv==0.13.9
	$(COMPILE) requirements.in -o requirements.txt
	$(COMPILE) tests/requirements.in -c requirements.txt -o tests/requirements.txt
	$(COMPILE) training/requirements.in -c requirements.txt -c tests/requirements.txt -o training/requirements.txt
	$(COMPILE) tests/training/requirements.in -c requirements.txt -c tests/requirements.txt \
		-c training/requirements.txt -o tests/training/requirements.txt
	$(COMPILE) cluster/requirements.in -c requirements.txt -c tests/requirements.txt \
		-c training/requirements.txt -o cluster/requirements.txt

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find app cluster training tests benchmarks container -name __pycache__ -prune -exec rm -rf {} +

.DELETE_ON_ERROR:

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)." \
			"Install it, or name another one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/runtime.stamp: requirements.txt .venv/pyvenv.cfg
	$(PIP) install -r requirements.txt
	@touch $@

.venv/test.stamp: .venv/runtime.stamp tests/requirements.txt
	$(PIP) install -r tests/requirements.txt
	@touch $@

.venv/system.stamp: .venv/test.stamp cluster/requirements.txt
	$(PIP) install -r cluster/requirements.txt
	@touch $@

.venv/training.stamp: .venv/test.stamp training/requirements.txt tests/training/requirements.txt
	@echo 'Installing PyTorch and what training needs: about 3 GB to fetch, 7 GB on disk, once.'
	$(PIP) install -r training/requirements.txt -r tests/training/requirements.txt
	@touch $@
