# `make demo`, `make test` and `make docs` need make, Python 3.10 or newer and a package index: they install everything
# else first, into the virtual environment .venv in this folder, pinned by requirements/lock.txt and docs.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
DEMO_TASK := --optimizer adamw --batch-size 256 --epochs 40

# A stamp is touched by the last line of its recipe, so that a broken installation leaves none and the next `make` goes on.
DEPENDENCIES := $(VENV)/.dependencies-installed
INSTALLED := $(VENV)/.autowu-installed
FOR_DOCS := $(VENV)/.docs-dependencies-installed
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))

# One process a core, each with one thread: more threads than cores slow each other down many times over.
IN_PARALLEL := --numprocesses auto --dist loadfile
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

# Versions are the lock's business: neither tool asks the network whether it is the newest.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-full reliability lint format docs bench lock clean

help:  ## Show this list.
	@echo "Usage: make TARGET [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED)  ## Train with AutoWU and with two usual learning rates; ends with the path of the report.
	@rm -rf $(DEMO)
	@echo "1 of 3: training with AutoWU, which finds the learning rate by itself."
	@$(BIN)/autowu train $(DEMO_TASK) --out $(DEMO)/autowu
	@echo; echo "2 of 3: the same with 0.001, PyTorch's default: a linear warm-up, then a cosine."
	@$(BIN)/autowu train $(DEMO_TASK) --schedule baseline --lr 0.001 --out $(DEMO)/adamw-0.001
	@echo; echo "3 of 3: the same with 0.0003, which is often copied."
	@$(BIN)/autowu train $(DEMO_TASK) --schedule baseline --lr 0.0003 --out $(DEMO)/adamw-0.0003
	@echo; echo "In so short a run both are too small. A tuned one, 0.003 to 0.03, does as well as"
	@echo "AutoWU, but has to be searched for: docs/demo.md has five seeds of each. The report:"
	@$(BIN)/autowu report $(DEMO)/autowu $(DEMO)/adamw-0.001 $(DEMO)/adamw-0.0003 -o $(DEMO)/report.html

test: lint  ## Run the linters, the type checker and the tests.
	@$(BIN)/python -m pytest $(IN_PARALLEL)

test-full: lint  ## The same with the tests marked `full`, which take minutes.
	@$(BIN)/python -m pytest -m "" $(IN_PARALLEL)

reliability: $(INSTALLED)  ## Try every promise of docs/reliability.md in full, and write its table: more than an hour.
	@$(BIN)/python -m pytest tests/reliability -m full --junitxml=runs/reliability.xml
	@$(BIN)/python -m tests.reliability.table runs/reliability.xml

lint: $(INSTALLED)  ## Run ruff and pyright; change nothing.
	@echo "Checking style (ruff) and types (pyright)."
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

format: $(INSTALLED)  ## Let ruff correct what it can, and format.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(FOR_DOCS)  ## Build the site into site/; a link or a name that leads nowhere fails.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

bench: $(INSTALLED)  ## Run the benchmarks; what they measured goes to runs/benchmarks.
	@$(BIN)/python -m benchmarks

# The CUDA packages are dropped: torch pins them itself where it needs them, and a CPU build needs none.
lock:  ## Pin the newest release of everything (needs uv; torch stays at requirements/constraints.txt).
	@uv pip compile pyproject.toml --quiet --upgrade --extra test --universal --python-version 3.10 \
		--fork-strategy fewest --constraints requirements/constraints.txt \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --output-file requirements/lock.txt.new
	@{ echo "# Everything that \`make\` installs, pinned by \`make lock\`; the CUDA packages are left to torch, which pins them."; \
		grep -v -E '^(nvidia-|cuda-|triton)' requirements/lock.txt.new; } > requirements/lock.txt
	@rm requirements/lock.txt.new
	@grep -v '^#' requirements/lock.txt > requirements/shared.new  # what both have is of one version
	@uv pip compile pyproject.toml --quiet --upgrade --extra docs --universal --python-version 3.10 \
		--fork-strategy fewest --constraints requirements/shared.new \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --output-file requirements/docs.txt.new
	@{ echo "# What \`make docs\` installs, pinned by \`make lock\`; what lock.txt has too is of the same version."; \
		cat requirements/docs.txt.new; } > requirements/docs.txt
	@rm requirements/shared.new requirements/docs.txt.new
	@echo "Wrote requirements/lock.txt and docs.txt; see what changed with: git diff requirements"

clean:  ## Remove what was installed or built here: .venv, caches, build, dist, site. Training runs stay.
	@rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .hypothesis
	@find src tests benchmarks experiments -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A virtual environment that works is left as it is.
define environment
	@$(BIN)/python -c '$(USABLE)' 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		$(PYTHON) -c '$(USABLE)' 2>/dev/null || { \
			echo "autowu needs Python 3.10 or newer with venv (on Debian: python3-venv); $(PYTHON) is:" \
				"$$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }; \
		echo "Making the virtual environment $(VENV) with $$($(PYTHON) --version)."; \
		$(PYTHON) -m venv --clear $(VENV); }
endef

$(DEPENDENCIES): requirements/lock.txt
	$(environment)
	@echo "Installing the pinned dependencies into $(VENV); torch is large, so the first time takes a minute or more."
	@$(BIN)/python -m pip install --quiet --no-compile --requirement requirements/lock.txt
	@$(BIN)/python -m compileall -qq --workers 0 $(VENV)/lib || true  # on all cores; templates are no Python
	@touch $@

$(FOR_DOCS): requirements/docs.txt
	$(environment)
	@echo "Installing what the site is built with into $(VENV)."
	@$(BIN)/python -m pip install --quiet --requirement requirements/docs.txt
	@touch $@

# The version lives in __init__.py and the extras in pyproject.toml: a change of either renews the metadata.
$(INSTALLED): $(DEPENDENCIES) pyproject.toml src/autowu/__init__.py
	@echo "Installing autowu itself, from this folder."
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
