# make demo | make test | make check: the three commands of the README.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt
# A package index that is configured for pip serves uv as well; without one both use their default.
ifneq ($(PIP_FIND_LINKS),)
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif
ifneq ($(PIP_INDEX_URL),)
export UV_INDEX_URL ?= $(PIP_INDEX_URL)
endif
FLIGHTS ?= flights
PYTEST_ARGS ?= -n 2 --dist worksteal

# Whoever may not keep what he compiles does it again in each process, and the suite starts hundreds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all check format clean

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv

$(VENV)/.demo: $(BIN)/uv pyproject.toml constraints.txt
	$(UV) -e '.[demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.demo scripts/tensorflow-serving-stubs
	$(UV) --group test --group check
	scripts/tensorflow-serving-stubs $(BIN)/python $(VENV)/stubs
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/carrara demo $(FLIGHTS)

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m 'not slow'

test-all: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
