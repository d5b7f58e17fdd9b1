# Everything a person or CI does here; a fresh Debian 12 with Python 3.11 and make is enough.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON3 ?= python3
TEST_WORKERS ?= 2
PYTEST_ARGS ?=
CHAOS_ARGS ?=
AGREEMENT_ARGS ?=

UV := .tools/bin/uv
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never
export UV_HTTP_TIMEOUT ?= 600
# The machine's own certificates, as a company's gateway may sign what comes from the registries with one of its own.
system_certificates := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(system_certificates),)
export SSL_CERT_FILE ?= $(system_certificates)
export NODE_EXTRA_CA_CERTS ?= $(system_certificates)
endif
export PATH := $(CURDIR)/.tools/bin:$(PATH)

frontend_sources := $(shell find frontend -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null | sed 's/ /\\ /g')
frontend_ready := $(if $(wildcard frontend/package.json),frontend/dist/.stamp)

.PHONY: help setup demo up down test check format estimator-report arguments model-catalogue simulate chaos agreement templates benchmark-datasets \
  benchmark-reporting benchmark-latency

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 22

setup: .venv/.runtime $(frontend_ready) ## Install all that running needs
demo: setup ## Start the platform, fine-tune and evaluate the demonstration, leave the platform running
	@exec $(BIN)/tuneforge up --demo
up: setup ## Start the platform here, until Ctrl-C
	@exec $(BIN)/tuneforge up
down: ## Stop the platform that runs in the background
	@if [ -x $(BIN)/tuneforge ]; then exec $(BIN)/tuneforge down; else echo "Nothing is installed here, so nothing runs."; fi

test: .venv/.dev $(frontend_ready) .tools/bin/chromium ## Set up what tests need and run them all
	$(BIN)/pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --durations 40 $(PYTEST_ARGS)

check: .venv/.dev $(if $(frontend_ready),frontend/node_modules/.stamp) ## Formatting, lint, types, floors, templates
	$(UV) lock --check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
ifneq ($(shell grep -F '[tool.importlinter]' pyproject.toml),)
	$(BIN)/lint-imports
endif
ifneq ($(wildcard frontend/templates),)
	$(BIN)/djlint --check --lint frontend/templates
endif
ifneq ($(wildcard frontend/tsconfig.json),)
	cd frontend && ./node_modules/.bin/tsc --noEmit
endif

format: .venv/.dev ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

arguments: .venv/.dev ## Describe LLaMA-Factory's arguments anew, after a change of its version
	$(BIN)/python scripts/describe_arguments.py

model-catalogue: .venv/.dev ## List LLaMA-Factory's models anew, after a change of its version
	$(BIN)/python scripts/describe_models.py

simulate: .venv/.dev ## The scheduler against simple rules on 200,000 jobs, and how long one decision takes
	$(BIN)/python -m benchmarks.scheduler_speed
	$(BIN)/python -m benchmarks.simulate_scheduler

chaos: .venv/.dev $(frontend_ready) ## Break a platform fault by fault while jobs run, and count what is lost (CHAOS_ARGS=--short)
	$(BIN)/python -m chaos $(CHAOS_ARGS)

agreement: .venv/.dev ## What the checker says of 800 datasets against what real LLaMA-Factory loads of them (6 minutes)
	$(BIN)/python -m tests.agreement.compare $(AGREEMENT_ARGS)

templates: .venv/.dev ## Describe LLaMA-Factory's chat templates anew, after a change of its version
	$(BIN)/python scripts/describe_templates.py

benchmark-datasets: .venv/.dev ## A million rows and ten thousand pictures checked: rows a second, peak memory, beside a plain loop
	$(BIN)/python -m benchmarks.dataset_check

benchmark-reporting: .venv/.dev ## 100 to 3,000 running jobs report: what is lost, how late points are, how fast pages answer
	$(BIN)/python -m benchmarks.reporting_load

benchmark-latency: .venv/.dev ## From the 201 of a submission to the start of its program, and where the time goes
	$(BIN)/python -m benchmarks.submission_latency

estimator-report: .venv/.dev ## Write docs/estimator.md: measured runs beside what is predicted for them
	$(BIN)/python benchmarks/estimator_report.py

# --- what the above stand on: each is made once, and again when what it is made from changes ---

$(UV): scripts/bootstrap_uv.py
	$(PYTHON3) scripts/bootstrap_uv.py

.venv/.runtime: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --inexact --all-extras --no-extra bitsandbytes --no-dev
	touch $@

.venv/.dev: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --inexact --all-extras --no-extra bitsandbytes --group dev
	touch .venv/.runtime $@

.tools/bin/npm: scripts/bootstrap_node.sh scripts/node-requirements.txt | $(UV)
	scripts/bootstrap_node.sh

frontend/node_modules/.stamp: frontend/package.json frontend/package-lock.json | .tools/bin/npm
	cd frontend && npm ci --no-audit --no-fund
	touch $@

frontend/dist/.stamp: frontend/node_modules/.stamp $(frontend_sources)
	cd frontend && npm run build
	touch $@

.tools/bin/chromium: scripts/install_chromium.sh
	scripts/install_chromium.sh
