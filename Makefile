# A fresh machine needs Python 3.11, pip, git and make. uv is taken from PATH, else installed into .uv/.
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
# Extras beside the pipeline, such as EXTRAS="s3 kaggle"; those of the last `make install` are kept.
INSTALLED := $(shell cat .venv/.installed 2>/dev/null)
EXTRAS ?= $(INSTALLED)

.PHONY: help install wheel run test test-slow test-containers lint types check mutants bench demo-lifecycle fuzz audit sbom vendor docs clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

install: .venv/.installed ## install the locked environment; EXTRAS="s3 kaggle" for more

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check "uv==0.13.8"

ifneq ($(strip $(EXTRAS)),$(strip $(INSTALLED)))
.PHONY: .venv/.installed
endif
.venv/.installed: $(filter .uv/%,$(UV)) pyproject.toml uv.lock
	$(UV) sync --frozen --quiet $(addprefix --extra ,$(EXTRAS))
	@echo "$(EXTRAS)" > $@

wheel: $(filter .uv/%,$(UV)) ## dist/fer_pipeline-*.whl: recognition alone; the rest are its extras
	$(UV) build --wheel --quiet --out-dir dist

run: install ## raw faces to a packaged champion; DATA=path, VOTES=path and PROFILE=name are optional
	@.venv/bin/fer run $(if $(DATA),--data "$(DATA)") $(if $(VOTES),--votes "$(VOTES)") $(if $(PROFILE),--profile "$(PROFILE)")

test: install ## the test suite, its files shared between two processes
	.venv/bin/pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-slow: ## the tests that take minutes each; installs the extras that some of them need
	$(MAKE) install EXTRAS="$(sort $(EXTRAS) postgres s3)"
	.venv/bin/pytest -q -m "slow and not containers"

test-containers: install ## start compose.yaml whole, break it, start it again; as root, installs Podman, half an hour and 20 GB
	.venv/bin/pytest -q -rPs -m containers tests/e2e/containers

mutants: install ## change the pure modules in one place at a time: which changes does no test notice? ONLY="fer_pipeline.metrics*" for some
	.venv/bin/mutmut run --max-children 2 $(ONLY)
	.venv/bin/mutmut results | sed '/not checked/d'

bench: install ## speed and memory
	.venv/bin/python -m benchmarks

check: lint types ## style, layers and types; under a minute

lint: install ## style, and who may import whom
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo

types: install ## types
	.venv/bin/mypy

demo-lifecycle: install ## a model's life with real servers on loopback: train, promote, serve, drift, feedback, shadow, rollback
	.venv/bin/python -m benchmarks.lifecycle

fuzz: install $(filter .uv/%,$(UV)) ## attacks, and what nobody should send to the service; minutes, fetches schemathesis
	.venv/bin/pytest -q -m attack
	.venv/bin/python -m benchmarks.fuzz

audit: $(filter .uv/%,$(UV)) ## known vulnerabilities of the locked packages; needs api.osv.dev, and says "not audited" without it
	python3 -m tools.audit $(UV)

sbom: install ## sbom.cdx.json, a CycloneDX list of the locked packages with all extras, and of what the page has of others
	$(UV) export --frozen --all-extras --no-dev --quiet --format cyclonedx1.5 --output-file sbom.cdx.json
	.venv/bin/python -m tools.sbom sbom.cdx.json

vendor: install ## renew what the page has of others, at its pinned versions; needs npm
	.venv/bin/python -m tools.vendor_onnxruntime
	.venv/bin/python -m tools.vendor_centerface
	.venv/bin/python -m tools.vendor_vega

docs: install $(filter .uv/%,$(UV)) ## site/, the pages of docs/ as a site; `python3 -m http.server -d site` shows it
	$(UV) sync --frozen --quiet --inexact --group docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build

clean: ## remove everything that runs wrote, except the data under DVC
	rm -rf data/raw data/processed data/quarantine data/checked data/reports data/model data/checkpoints data/export data/bundle data/challenger mutants
