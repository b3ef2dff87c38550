# Every target works on a fresh machine with Python 3.11 or newer and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
PAGE := .venv/.page
JUDGES := .venv/judges/.ready

# Threads that spin while they wait slow every other process down.
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false

.PHONY: demo test check format nightly bench train-shapes train-digits train-moving-shapes train-tones docs clean

demo: $(READY)  ## pictures from the default model, on one contact sheet
	@$(BIN)/ldm generate --seed 1 --out pictures --sheet pictures/sheet.png --overwrite \
	  "a large red circle on a blue background" \
	  "a small yellow star at the top left on a black background" \
	  "a large green ring in the center on a white background" \
	  "a small purple cross at the bottom right on a yellow background" \
	  "a large orange triangle on a purple background" \
	  "a small white square at the top right on a green background" \
	  "a large black star on a orange background" \
	  "a small blue circle at the bottom left on a white background"

test: $(READY) $(PAGE) $(JUDGES)  ## the tests that take seconds
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow"

check: $(READY)  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

nightly: $(READY) $(PAGE) $(JUDGES)  ## every test, the slow ones too, and the default models' figures
	$(BIN)/python -m pytest -q -n auto --dist loadfile
	$(BIN)/python benchmarks/reconstruction.py
	$(BIN)/python benchmarks/obedience.py
	$(BIN)/python benchmarks/digits.py
	$(BIN)/python benchmarks/tones_obedience.py

bench: $(READY)  ## speed, memory and start-up, as ratios to named peers; an hour and more (PARTS=...)
	$(BIN)/python benchmarks/half_precision.py
	$(BIN)/python benchmarks/stored_weights.py
	$(BIN)/python benchmarks/memory_of_many.py
	$(BIN)/python benchmarks/speed.py --json speed.json $(if $(PARTS),--parts $(PARTS)) \
	  $(if $(OPTIMUM),--optimum $(OPTIMUM)) $(if $(K_DIFFUSION),--k-diffusion $(K_DIFFUSION)); \
	  ended=$$?; $(BIN)/python benchmarks/speed.py --json speed.json --page; exit $$ended

train-shapes: $(READY)  ## the default model from nothing; continues where it was interrupted
	sh benchmarks/reproduce_shapes.sh

train-digits: $(READY)  ## the class-conditional model from nothing, likewise
	sh benchmarks/reproduce_digits.sh

train-moving-shapes: $(READY)  ## the video model from nothing but `shapes`, likewise
	sh benchmarks/reproduce_moving_shapes.sh

train-tones: $(READY)  ## the sound model from nothing, likewise
	sh benchmarks/reproduce_tones.sh

docs: $(READY)
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv pictures site

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@echo "setting up .venv: 2 GB, and some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The page is tried in a browser where there is one; else those tests are skipped, and say so.
$(PAGE): $(READY) constraints-page.txt
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null; then \
	  $(BIN)/pip install -q --disable-pip-version-check --no-deps -r constraints-page.txt || \
	  echo "the page is not tried in a browser: what it needs cannot be installed"; fi
	@touch $@

# Where it cannot be had, the test that asks it is skipped, and says so.
$(JUDGES): $(READY) constraints-judges.txt
	@mkdir -p $(@D)
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --upgrade --target $(@D) -r constraints-judges.txt || \
	  echo "the network of the Fréchet distance is not judged: torch-fidelity cannot be installed"
	@touch $@
