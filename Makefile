# `make demo` and `make test` set up .venv by themselves. The stamp stands for a finished set-up: an interrupted one
# leaves none, and the next command starts from an empty .venv.

PYTHON ?= $(firstword $(shell command -v python3.11 python3))
BIN := .venv/bin
STAMP := .venv/.installed

# Threads that wait for work sleep instead of spinning: Ray's actors share the cores.
export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

FAST := tests/artifacts tests/cli tests/composition tests/console tests/corpora tests/files tests/folder tests/image tests/report \
	tests/submit tests/test_config.py tests/test_errors.py tests/test_jobs.py tests/test_redaction.py tests/test_rule_pools.py \
	tests/test_rules.py tests/test_storage.py

# Shared among processes as tests/conftest.py says, which puts those that take longest first.
SHARED := -n auto --dist loadscope --no-loadscope-reorder

.PHONY: help demo test test-fast check docs faults soak fuzz cases image clean

help: ## Show this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## Run the whole job on a planted corpus, into demo-run/
	$(BIN)/encore-ray demo

test: $(STAMP) ## Run every test, in several processes
	$(BIN)/python -m pytest $(SHARED)

test-fast: $(STAMP) ## Run the tests that need no cluster and no model
	$(BIN)/python -m pytest $(SHARED) -m "not ray" $(FAST)

check: $(STAMP) docs ## Run ruff, pyright, import-linter and, where its database answers, pip-audit; build the site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python .ci/audit.py

docs: $(STAMP) ## Build the pages as a site, into site/index.html; a broken link is an error
	$(BIN)/sphinx-build --quiet --fresh-env --nitpicky --fail-on-warning --keep-going --conf-dir docs \
		--doctree-dir build/doctrees . site

faults: $(STAMP) ## Strike jobs with 200 faults (SEED, FAULTS, MINUTES)
	$(BIN)/python -m tests.faults --seed $(or $(SEED),0) --faults $(or $(FAULTS),200) --minutes $(or $(MINUTES),50)

soak: $(STAMP) ## Run a job of an hour, with a kill every minute (SEED, MINUTES)
	$(BIN)/python -m tests.faults --seed $(or $(SEED),0) --soak $(or $(MINUTES),60)

fuzz: $(STAMP) ## Read 10,000 spoiled corpora, and prepare 200 by the command (SEED)
	$(BIN)/python -m tests.fuzz --seed $(or $(SEED),0)

cases: $(STAMP) ## Try what public reports describe, from the folder that ENCORE_RAY_CASES names
	$(BIN)/python -m tests.cases

image: $(STAMP) ## Build the Dockerfile's image without Docker, and run jobs in it as clouds do (root)
	$(BIN)/python -m tests.image

clean: ## Remove .venv, demo-run/, site/ and caches
	rm -rf .venv demo-run site build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "encore-ray needs Python 3.11 or newer; found: $$($(or $(PYTHON),echo no python3) --version). Name one with make PYTHON=/path/to/python3.11"; exit 2; }
	@test -e $@ || $(PYTHON) -m venv --clear .venv
	@rm -f $@
	@echo "Setting up .venv: a few minutes, about 3 GB with the CPU build of torch."
	@$(BIN)/python -m pip install --quiet --progress-bar off -c constraints.txt -e '.[test]'
	@touch $@
