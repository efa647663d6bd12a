# `make demo` and `make test` set up what they need in $(VENV); nothing has to be installed by hand.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export OMP_NUM_THREADS ?= 1

FOLDERS = compress convert runtime models benchmarks
READY = $(VENV)/.ready

.PHONY: demo test test-all check bench docs wheel wheel-test base-test clean

demo: $(READY)
	$(BIN)/edgepress demo -o demo

test: $(READY)
	$(BIN)/python -m pytest -q -n 2

test-all: $(READY)
	$(BIN)/python -m pytest -q -n 2 -m "not gpu"

check: $(READY) .typing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	failed=0; for suite in benchmarks/suites/[!_]*.py; do $(BIN)/python $$suite || failed=1; done; exit $$failed

docs: $(READY)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -q -d build/site

wheel: $(READY)
	rm -rf build/lib dist && $(BIN)/python -m build --outdir dist .

# The tests of the installed package, from outside of the checkout.
wheel-test: wheel
	$(PYTHON) -m venv --clear build/wheel-venv
	build/wheel-venv/bin/pip install -q -c constraints.txt "$$(ls dist/*.whl)[simplify,tflite,ncnn,mnn,tract,coreml,digits,report,accelerate,dev]"
	rm -rf build/outside && mkdir -p build/outside && cp -r tests pyproject.toml build/outside
	cd build/outside && ../wheel-venv/bin/python -m pytest -q -p no:cacheprovider

# What an installation without extras can do, and how large it is.
base-test: wheel
	$(PYTHON) -m venv --clear build/base-venv
	build/base-venv/bin/pip install -q -c constraints.txt dist/*.whl
	build/base-venv/bin/python tests/without_extras.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[simplify,tflite,ncnn,mnn,tract,coreml,digits,report,accelerate,dev]'
	touch $@

# Type checkers follow no editable-install hooks: a tree of links shows them the package as it is installed.
.typing: $(FOLDERS) edgepress
	rm -rf $@ && mkdir -p $@/edgepress
	ln -s $(addprefix ../../,$(wildcard edgepress/*)) $@/edgepress/
	ln -s $(addprefix ../../,$(FOLDERS)) $@/edgepress/

clean:
	rm -rf build dist .typing .pytest_cache .mypy_cache .ruff_cache
