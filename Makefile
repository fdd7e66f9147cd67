# Every target makes its own environment in .venv on first use: `make app` is all that a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

# Taken from requirements.txt, so that a version stands in one place.
TORCH := $(shell grep '^torch==' requirements.txt)
TORCHVISION := $(shell grep '^torchvision==' requirements.txt)

EXAMPLE = $(firstword $(sort $(wildcard assets/examples/*.jpg assets/examples/*.png assets/examples/*.webp)))
EMOJI_FONT := /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf

export GRADIO_ANALYTICS_ENABLED = False
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: app help test test-all test-fast coverage lint docs smoke fuzz soak system
.DEFAULT_GOAL := app

app: $(VENV)/.app  ## open the app at http://127.0.0.1:7860
	$(BIN)/python app.py

help:  ## list what can be made
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: $(VENV)/.dev system  ## the test suite, on two cores, without what takes half a minute a test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: $(VENV)/.dev system  ## every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/.dev  ## the same without a browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not browser"

coverage: $(VENV)/.dev system  ## the same suite, and which lines it runs: a table, and pages in out/coverage
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
		--cov --cov-report=term:skip-covered --cov-report=html:out/coverage

lint: $(VENV)/.dev  ## ruff (rules and format), and mypy on the library
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev  ## the documents as a site, with an API reference, in out/site; a broken link ends it
	$(BIN)/python -m benchmarks.report
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open out/site/index.html"

smoke: $(VENV)/.app  ## does it work at all? the imports, then one picture from the command line
	$(BIN)/python -c "import sseg, timm; from transformers import MaskFormerModel; print('sseg', sseg.__version__)"
	$(BIN)/python -m sseg segment "$(EXAMPLE)" --phrases "dog, grass, water, road"

fuzz: $(VENV)/.dev  ## five minutes of inputs that nobody would write; docs/reliability.md says what is promised
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz --seconds 300 --out out/fuzz.json

soak: $(VENV)/.dev  ## ten minutes of 32 clients at one page; wants a quiet machine
	$(BIN)/python -m benchmarks.soak --clients 32 --seconds 600 --out out/soak

# torch comes first, and torchvision without its dependencies: pip then keeps a torch that was built for this machine
# instead of fetching the one that a torchvision wheel was built with.
$(VENV)/.app: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "venv is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing into $(VENV): a few minutes the first time"
	$(PIP) $(TORCH)
	$(PIP) --no-deps $(TORCHVISION)
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.app
	$(PIP) -r requirements-dev.txt
	@touch $@

# The browser, strace and the emoji font that some tests need: fetched where this user may install Debian packages.
system:
	@missing=""; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v strace >/dev/null || missing="$$missing strace"; \
	test -e $(EMOJI_FONT) || missing="$$missing fonts-noto-color-emoji"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then \
		echo "Installing$$missing"; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $$missing; } \
			>/dev/null || true; \
	fi; \
	command -v chromium >/dev/null \
		|| echo "No chromium here: the tests marked 'browser' are left out (Debian: apt-get install chromium)"; \
	test -e $(EMOJI_FONT) \
		|| echo "No $(EMOJI_FONT): the tests marked 'font' are left out (Debian: apt-get install fonts-noto-color-emoji)"
