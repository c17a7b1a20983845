# Targets of the tests, included by the Makefile. What each part runs stands in tests/run.py.
.PHONY: build test lint test-unit test-integration test-molecule test-long bench tests-tools tests-machine

PARTS ?= lint unit stack integration molecule
SCENARIO ?=

tests-tools:
	@scripts/bootstrap --dev

tests-machine:
	@tests/prepare

# Everything that CI runs; PARTS="lint unit" runs these alone.
test: ## every test of CI (PARTS="lint unit" runs these alone)
	@TEST_STARTED=$$(date +%s); export TEST_STARTED; tests/prepare && scripts/bootstrap --dev && .venv/bin/python tests/run.py $(PARTS)

build: tests-tools ## the collection as a file that ansible-galaxy installs, in .cache/build/
	@.venv/bin/ansible-galaxy collection build --force --output-path .cache/build

lint: tests-tools ## linters, types, documentation, build, ansible-test sanity
	@.venv/bin/python tests/run.py lint

test-unit: tests-tools ## pure logic, seconds
	@.venv/bin/python tests/run.py unit

test-integration: tests-machine tests-tools ## real clients on a stack that is deployed for it
	@.venv/bin/python tests/run.py integration

# SCENARIO="redis pgadmin" runs these alone.
test-molecule: tests-machine tests-tools ## the smallest scenario (SCENARIO="postgres services" runs these)
	@.venv/bin/python tests/run.py molecule $(addprefix --scenario ,$(SCENARIO))

# What takes too long for CI.
test-long: tests-machine tests-tools ## what takes too long for CI
	@.venv/bin/python tests/run.py long

bench: tests-machine tests-tools ## measure: ratios of medians, on a stack of its own
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python tests/run.py bench
