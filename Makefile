# make demo   extract layers, compute ranges, draw the figure (results/demo)
# make test   environment, linters, type checker, API reference, tests
# make figure draw the demo's figure again        make report one HTML page about the demo
# make docs   the API reference, in site/         make lock   renew the versions in constraints.txt
# make lint   linters      make types  type checker      make environment  what tests need
# make clean  remove the environment, results, dumps, site and caches
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := $(VENV)/lock
# Sees the constraints in every call, so that no call can pull another version; pip takes those for
# what builds a package from the environment, by the first name until 25.2 and by the second since.
INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(BIN)/python -m pip install -c constraints.txt

.NOTPARALLEL:
.PHONY: demo test environment lint types docs tests figure report lock clean

demo: $(VENV)/.demo
	$(BIN)/layerbounds study demo

figure: $(VENV)/.demo
	$(BIN)/layerbounds figure results/demo

report: $(VENV)/.demo
	$(BIN)/layerbounds report results/demo

# The steps of `make test`, each by its name; `make -k` and CI's log say which one failed.
test: environment lint types docs tests

environment: $(VENV)/.dev $(VENV)/.demo
	@echo "== environment: $$($(BIN)/python --version), $(VENV)"

lint: $(VENV)/.dev
	@echo "== lint"
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev
	@echo "== types"
	$(BIN)/pyright

docs: $(VENV)/.dev
	@echo "== docs"
	$(BIN)/python docs/reference.py site

tests: $(VENV)/.dev $(VENV)/.demo
	@echo "== tests"
	$(BIN)/pytest

# The newest versions that pyproject.toml allows, but for torch; the comments stay.
lock:
	rm -rf $(LOCK)
	$(PYTHON) -m venv $(LOCK)
	grep '^torch==' constraints.txt > $(LOCK)/torch.txt
	$(LOCK)/bin/python -m pip install -c $(LOCK)/torch.txt -e '.[dev]' hatchling
	grep '^#' constraints.txt > $(LOCK)/new.txt
	$(LOCK)/bin/python -m pip freeze --all --exclude-editable > $(LOCK)/found.txt
	sed -e '/^pip==/d' -e 's/+.*//' $(LOCK)/found.txt >> $(LOCK)/new.txt
	mv $(LOCK)/new.txt constraints.txt
	rm -rf $(LOCK)

clean:
	rm -rf $(VENV) results dumps site .pytest_cache .ruff_cache

# The stamps say what is installed; they are older than what they depend on only after a change.
$(VENV)/.package: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "layerbounds needs Python 3.11 or newer; try make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e '.[onnx,verify,finetune]'
	touch $@

$(VENV)/.demo: $(VENV)/.package requirements-demo.txt
	$(INSTALL) --no-deps -r requirements-demo.txt
	touch $@

$(VENV)/.dev: $(VENV)/.package
	$(INSTALL) -e '.[dev]'
	touch $@
