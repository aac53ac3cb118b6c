# make demo   extract layers, compute ranges, draw the figure (results/demo)
# make test   environment, linters, type checker, tests
# make figure draw the demo's figure again        make report one HTML page about the demo
# make lint   linters only                        make lock   renew the versions in constraints.txt
# make clean  remove the environment, results, dumps and caches
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := $(VENV)/lock
# Sees the constraints in every call, so that no call can pull another version; pip takes those for
# what builds a package from the environment, by the first name until 25.2 and by the second since.
INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(BIN)/python -m pip install -c constraints.txt

.NOTPARALLEL:
.PHONY: demo test lint figure report lock clean

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
	rm -rf $(VENV) results dumps .pytest_cache .ruff_cache

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
