# make demo       the main job on embedded defaults
# make demo-live  the service on a simulated Panorama: a commit, an outage
# make test       everything that CI runs
# make slow       the slow tests, which repeat what `make test` does many times
# make unit       the fast tests alone, under a minute
# make lint       format, lints, types, import contracts, workflows, words of the documents
# make bench      measurements, as ratios
# make fuzz       100,000 documents gone wrong for the readers (DOCUMENTS=, SEED=);
#                 ENGINE=atheris: what it finds by branches (TARGET=, SECONDS=)
# make soak       half an hour of everything at once, by chance (MINUTES=, SEED=)
# make chart      what the chart repeats: its README, schema and version
# make metrics    docs/metrics.md anew, from the service's registry
# make record     the cassettes anew, of the simulator or of a Panorama: see cassettes/README.md
# make lock       newer versions of what the project depends on
# make image      the container image, by docker, podman or buildah (ENGINE=, IMAGE=, BASE=)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= auto
# No more than there are processors: each takes six seconds to find the tests.
UNIT_WORKERS ?= auto
DOCUMENTS ?= 100000
SEED ?= 1
TARGET ?= configuration
SECONDS ?= 600
MINUTES ?= 30
IMAGE ?= zonebridge:$(VERSION)
BASE ?= docker.io/library/python:3.13-slim-bookworm
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' sync/__init__.py)
REVISION ?= $(or $(shell git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null),unknown)
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),0)
BUILDER = $(or $(ENGINE),$(firstword $(foreach name,docker podman buildah,$(shell command -v $(name)))))
# Podman and Buildah give files and layers this one time; BuildKit reads it from the argument.
BUILD = $(if $(BUILDER),$(BUILDER) build$(if $(findstring docker,$(notdir $(BUILDER))),, --timestamp $(SOURCE_DATE_EPOCH)))

# Without its bytecode every process of the tests would compile the whole program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-live test slow unit lint controlplane image image-for-tests bench fuzz soak chart demo-page metrics record lock clean

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "zonebridge needs Python 3.11 or later: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@$(BIN)/python config/demo/demo.py

demo-live: $(READY)
	@$(BIN)/python config/demo/live.py

unit: $(READY)
	$(BIN)/python -m pytest -n $(UNIT_WORKERS) --dist worksteal --hypothesis-profile quick tests/unit

test: lint controlplane image-for-tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not soak" tests

# A block of seeds takes minutes where others run beside it.
slow: $(READY) controlplane
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout 3600 -m slow tests

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/*
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/python tests/controlplane/build.py --run actionlint -shellcheck=$(BIN)/shellcheck -pyflakes=
	$(BIN)/python docs/check_words.py

# The kube-apiserver, etcd and helm of the cluster tests and actionlint, built with Go once and then kept.
controlplane: $(READY)
	$(BIN)/python tests/controlplane/build.py

# It needs neither the virtual environment nor git: an unpacked archive can be built too.
image:
	$(if $(BUILD),,$(error make image wants docker, podman or buildah: install one of them))
	$(BUILD) --file Dockerfile --tag $(IMAGE) --build-arg BASE=$(BASE) \
		--build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) .

# Built twice, compared and unpacked once for each change of what it holds, and then kept.
image-for-tests: $(READY)
	$(BIN)/python -m tests.image.build

bench: $(READY) controlplane
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.translating
	$(BIN)/python -m benchmarks.proving
	$(BIN)/python -m benchmarks.writing
	$(BIN)/python -m benchmarks.changing
	$(BIN)/python -m benchmarks.panorama
	$(BIN)/python -m benchmarks.workers

fuzz: $(READY)
ifeq ($(ENGINE),atheris)
	$(BIN)/python -m tests.fuzz.guided $(TARGET) --seconds $(SECONDS)
else
	$(BIN)/python -m tests.fuzz --documents $(DOCUMENTS) --seed $(SEED)
endif

soak: $(READY) controlplane
	mkdir -p build
	SOAK_MINUTES=$(MINUTES) SOAK_SEED=$(SEED) $(BIN)/python -m pytest -n 0 -s --basetemp=build/soak -m soak tests/soak

chart: $(READY)
	$(BIN)/python helm/generate.py

demo-page: $(READY)
	$(BIN)/python docs/generate_demo.py

metrics: $(READY)
	$(BIN)/python docs/generate_metrics.py

record: $(READY)
	$(if $(PANORAMA),$(if $(API_KEY_FILE),,$(error make record PANORAMA=… wants API_KEY_FILE=… too)))
	RECORD_CASSETTES=yes PANORAMA="$(PANORAMA)" API_KEY_FILE="$(API_KEY_FILE)" CA_FILE="$(CA_FILE)" \
		PANORAMA_USER="$(PANORAMA_USER)" PASSWORD_FILE="$(PASSWORD_FILE)" \
		$(BIN)/python -m pytest tests/contract/test_panorama_contract.py
	$(BIN)/python -m pytest tests/unit/test_cassettes_hold_no_secrets.py

lock: $(READY)
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --extra otel pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 --extra simulator --extra otel --group dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 -c requirements/dev.txt requirements/build.in -o requirements/build.txt

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
