# Two commands: `make figures` (the main job) and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
WORKERS ?= 2

.PHONY: figures test lint unit notebooks-test gallery clean help

help:            ## show this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

figures: $(STAMP) ## recompute the ledger, regenerate every figure, execute the notebooks, print the verdicts
	$(BIN)/mixupe-theory figures
	$(BIN)/mixupe-theory notebooks
	$(BIN)/mixupe-theory claims --readme README.md

test: lint unit notebooks-test ## lint, unit tests and doctests, strict nbval over the notebooks

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: $(STAMP)
	$(BIN)/python -m pytest -q -n $(WORKERS)

notebooks-test: $(STAMP)
	$(BIN)/python -m pytest -q -p no:doctest -o addopts= -W default --nbval --nbval-current-env \
		--nbval-cell-timeout=300 -n $(WORKERS) --dist loadfile notebooks

gallery: $(STAMP) ## the executed notebooks as a web site in build/gallery
	$(BIN)/pip install -q -c constraints.txt -e ".[docs]"
	$(BIN)/sphinx-build -q -C -b html -D extensions=myst_nb -D nb_execution_mode=off -D root_doc=00_ledger \
		-D html_theme=sphinx_book_theme -D project=mixupe-theory -D exclude_patterns=py \
		-D suppress_warnings=toc.not_included notebooks build/gallery
	@echo "open build/gallery/00_ledger.html"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e ".[certify,dask,notebooks,test,train]"
	@touch $@

clean:           ## remove the environment and everything built
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
