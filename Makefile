# make demo   extract layers, compute ranges, draw the figure (results/demo)
# make test   environment, linters, type checker, tests
# make figure draw the demo's figure again        make report one HTML page about the demo
# make lint   linters only
# make clean  remove the environment, results, dumps and caches
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Sees the constraints in every call, so that no call can pull another torch.
INSTALL := $(BIN)/python -m pip install -c constraints.txt

.NOTPARALLEL:
.PHONY: demo test lint figure report clean

demo: $(VENV)/.demo
	$(BIN)/layerbounds study demo

figure: $(VENV)/.demo
	$(BIN)/layerbounds figure results/demo

report: $(VENV)/.demo
	$(BIN)/layerbounds report results/demo

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

test: lint $(VENV)/.demo
	$(BIN)/pytest

clean:
	rm -rf $(VENV) results dumps .pytest_cache .ruff_cache

# The stamps say what is installed; they are older than what they depend on only after a change.
$(VENV)/.package: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "layerbounds needs Python 3.11 or newer; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[onnx,verify]'
	touch $@

$(VENV)/.demo: $(VENV)/.package requirements-demo.txt
	$(INSTALL) --no-deps -r requirements-demo.txt
	touch $@

$(VENV)/.dev: $(VENV)/.package
	$(INSTALL) -e '.[dev]'
	touch $@
