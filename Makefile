# What people type. Each target first brings the machine into shape (scripts/setup), which is silent when nothing is to be done.
# A SIGTERM to make reaches the command (make passes it on and waits); make itself then reports 143, as make always does.
.DEFAULT_GOAL := help
.PHONY: help demo up test test-gpu test-redis soak fuzz check bench screenshots images clean
ARGS ?=
SECONDS ?= 600
SEED ?= 0
JOBS ?= 4
SUITE = .venv/bin/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

demo: ## start everything and push the sample repos, to look at (ONCE=1: end when they are done)
	@exec scripts/setup run .venv/bin/hermes demo $(if $(ONCE),--once)

up: ## start the service here, until Ctrl-C
	@exec scripts/setup run .venv/bin/hermes up

test: ## run the tests, four files at a time (ARGS="-k name -x" goes to pytest; JOBS=1: one at a time)
	@exec scripts/setup test $(SUITE) $(ARGS)

test-gpu: ## the tests that need a real GPU (HERMES_TEST_GPU_REPORT=file.json writes down what they measure)
	@HERMES_TEST_GPU=1 exec scripts/setup gpu .venv/bin/pytest tests/gpu $(ARGS)

test-redis: ## the tests while the Redis of every instance is emptied and killed all the time
	@HERMES_TEST_REDIS=faulty exec scripts/setup test $(SUITE) $(ARGS)

soak: ## people at work while faults strike at random, then the oracle (SECONDS=600, SEED=N)
	@exec scripts/setup test .venv/bin/python -m tests.soak --seconds $(SECONDS) --seed $(SEED) $(ARGS)

fuzz: ## the fuzz tests with other seeds and for longer (HERMES_FUZZ_S=600, in seconds)
	@HERMES_FUZZ_S=$${HERMES_FUZZ_S:-600} exec scripts/setup test .venv/bin/pytest tests/test_fuzz.py --timeout 0 $(ARGS)

check: ## everything that must hold before a commit: ruff, mypy, tests
	@scripts/setup test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	@exec scripts/setup test $(SUITE) $(ARGS)

bench: ## measure something (NAME=what; without it: what there is)
ifdef NAME
	@exec scripts/setup run .venv/bin/python -m bench.$(NAME) $(ARGS)
else
	@echo 'make bench NAME=...'; for file in bench/[a-z]*.py; do [ ! -e "$$file" ] || basename "$$file" .py; done
endif

screenshots: ## take pictures of every page anew, for docs/screenshots.md
	@exec scripts/setup test .venv/bin/python -m tests.screenshots

images: ## make the base images (hermes/cpp:2, hermes/cuda-13.0:2) in the Docker engine
	@scripts/images

clean: ## remove what can be made again: .venv and caches (never var, where the data is)
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
