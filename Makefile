# Slipway. `make help` lists what there is. Every target does the set-up that it needs; none needs another run first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Without bytecode, each of the programs that the tests start compiles what it imports again: five seconds for TensorFlow.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PYTHON := $(VENV)/bin/python
UV_VERSION := 0.13.9
# Packages of the distribution are installed only where that needs no password.
INSTALL_PACKAGES := $(if $(filter 0,$(shell id -u)),--install-packages)
STAMP := $(VENV)/.installed
UNIT_WORKERS ?= 3
# The local cluster that is meant: SLIPWAY_CLUSTER, as for the tests, or the one called slipway.
NAMED := $(if $(SLIPWAY_CLUSTER),--name $(SLIPWAY_CLUSTER))
STEP = @printf '\033[1m==> %s\033[0m\n'

##@ The main jobs
.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*##/ {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(STAMP) ## From nothing to a trained model that answers on Kubernetes
	$(PYTHON) -m dev.demo up $(INSTALL_PACKAGES)

.PHONY: demo-down
demo-down: $(STAMP) ## Remove what the demo made, the local cluster included
	$(PYTHON) -m dev.demo down

.PHONY: test
test: $(STAMP) binaries ## Every test but e2e: unit, golden, chart, images, model server, real API server
	$(STEP) "tests without a cluster"
	$(PYTHON) -m pytest -n $(UNIT_WORKERS) --dist loadfile $(if $(FAST),-m "not slow") tests

.PHONY: e2e
e2e: $(STAMP) cluster images ## Tests on real pods, with real gRPC
	$(STEP) "end-to-end tests"
	$(PYTHON) -m pytest -n 3 --dist loadscope e2e

.PHONY: chaos
chaos: $(STAMP) ## Faults on real pods: the operator killed, absent, doubled; the API server in trouble
	$(STEP) "faults, in a cluster of their own"
	SLIPWAY_CHAOS=1 $(PYTHON) -m pytest -n 4 --dist loadgroup e2e/chaos
	$(PYTHON) -m dev.cluster down --name=slipway-chaos

.PHONY: bench
bench: $(STAMP) ## The operator against the control plane's own speed, on 50 simulated nodes
	$(PYTHON) -m dev.bench --check --json build/bench.json

.PHONY: zero-downtime
zero-downtime: $(STAMP) images ## 10^5 calls through each Service while pods go away in every way there is, on two nodes (about 20 min)
	$(STEP) "no request lost"
	$(PYTHON) -m dev.cluster up --name zero-downtime --nodes 2 $(INSTALL_PACKAGES)
	SLIPWAY_CLUSTER=zero-downtime SLIPWAY_LOAD_CALLS=$${SLIPWAY_LOAD_CALLS:-100000} $(PYTHON) -m pytest -n 0 -v -s e2e/test_no_request_lost.py e2e/test_spread.py
	$(PYTHON) -m dev.cluster down --name zero-downtime

##@ The habits
.PHONY: lint
lint: $(STAMP) ## ruff (rules and format), import-linter
	$(PYTHON) -m ruff check --no-cache .
	$(PYTHON) -m ruff format --no-cache --check .
	$(VENV)/bin/lint-imports --no-cache
	PYTHONPATH=images/model-server $(VENV)/bin/lint-imports --no-cache --config images/model-server/importlinter.toml

.PHONY: type
type: $(STAMP) ## mypy, strict
	$(PYTHON) -m mypy operator images/tools images/model-server images/build.py dev e2e examples tests

.PHONY: format
format: $(STAMP) ## Let ruff put things in order
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

GENERATED := crds charts docs/api-reference.md

.PHONY: generate
generate: $(STAMP) ## Write what is generated: CRD, its copy in the chart, schema and tables, API reference
	$(PYTHON) -m dev.generate

.PHONY: verify
verify: generate ## Fail when something generated was not committed
	@git diff --exit-code -- $(GENERATED) || { echo "generated files differ: run 'make generate' and commit"; exit 1; }
	@test -z "$$(git status --porcelain -- $(GENERATED))" || { git status --short -- $(GENERATED); echo "generated files are not committed"; exit 1; }

.PHONY: requirements
requirements: $(VENV)/bin/uv ## Resolve pyproject.toml into requirements/*.txt with hashes
	$(VENV)/bin/uv pip compile -q pyproject.toml $(COMPILE) -o requirements/operator.txt
	$(VENV)/bin/uv pip compile -q --group tools $(COMPILE) -o requirements/tools.txt
	$(VENV)/bin/uv pip compile -q --group model-server $(COMPILE) -o requirements/model-server.txt
	$(VENV)/bin/uv pip compile -q pyproject.toml --group dev $(COMPILE) -o requirements/dev.txt
	echo 'tensorflow-serving-api==2.21.0' | $(VENV)/bin/uv pip compile -q - --no-deps $(COMPILE) -o requirements/serving-api.txt
COMPILE := --universal --generate-hashes --no-emit-index-url --no-annotate --python-version 3.11 --custom-compile-command 'make requirements'

##@ The parts
.PHONY: cluster
cluster: $(STAMP) ## A Kubernetes to run on: kind where Docker runs, else built here from Go modules
	$(PYTHON) -m dev.cluster up $(NAMED) $(INSTALL_PACKAGES)

.PHONY: cluster-down
cluster-down: $(STAMP) ## Stop the cluster and leave nothing of it
	$(PYTHON) -m dev.cluster down $(NAMED)

.PHONY: images
images: $(STAMP) ## Build the three images
	$(PYTHON) -m images.build $(INSTALL_PACKAGES)

.PHONY: binaries
binaries: $(STAMP) ## Build what the tests need of Kubernetes, helm and kubeconform (cached outside the repository)
	$(PYTHON) -m dev.cluster build $(INSTALL_PACKAGES)

.PHONY: setup
setup: $(STAMP) ## The Python environment in .venv

$(VENV)/bin/uv:
	@command -v python3 >/dev/null || { echo "python3 is missing: install Python 3.11 or newer"; exit 1; }
	$(STEP) "Python environment in $(VENV)"
	@python3 -m venv $(VENV) || { echo "python3 -m venv failed: install the package python3-venv"; exit 1; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(STAMP): $(VENV)/bin/uv requirements/dev.txt requirements/serving-api.txt pyproject.toml
	$(STEP) "Python packages (TensorFlow among them, about 1 GB on disk)"
	@$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes --no-deps -r requirements/dev.txt -r requirements/serving-api.txt
	@$(VENV)/bin/uv pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: clean
clean: ## Remove what was built inside the repository
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis operator/*.egg-info
