# SPDX-License-Identifier: MIT
# Tests and checks. `make test` is what .ci/run calls.
-include tests/unit/build.mk
-include tests/guests/build.mk
-include tests/bench/build.mk
-include tests/model/build.mk
-include tests/sched/build.mk
-include tests/coverage.mk
-include tests/fuzz/build.mk

C_FILES = $(shell find hypervisor pv-abi dom0-tools xenstore-lite tests -name '*.[ch]')

.PHONY: test test-build test-inner unit abi loc format lint check attacks
test:
	@scripts/packages build run test
	@scripts/packages bochs || echo 'test: Bochs cannot be installed; its tests will be skipped'
	@scripts/fetch schemas || echo "test: libvirt's schema cannot be had; ours is tested alone"
	@$(MAKE) --no-print-directory -j$(shell nproc) test-build
	@$(MAKE) --no-print-directory test-inner

# Side by side; the image is made of what this builds.
test-build: all $(UNIT_TESTS)

test-inner: all image $(UNIT_TESTS)
	@python3 tests/boot/run.py --units $(UNIT_TESTS)

# The host's tests alone.
unit: $(UNIT_TESTS)
	@BOOT=none python3 tests/boot/run.py --units $(UNIT_TESTS)

# Guests with four vCPUs on four processors, busy for SECONDS.
.PHONY: soak
soak: all image
	@SECONDS=$${SECONDS:-300} BOOT=smp python3 tests/boot/run.py

# Physical lines of the privileged part, a folder a line; above the limit it fails.
LOC_LIMIT := 20000
loc:
	@python3 tests/check/loc.py $(LOC_LIMIT) $(LOC_DIRS)

format:
	@clang-format -i $(C_FILES)

check:
	@python3 tests/check/run.py
	@python3 tests/check/attacks.py --check
	@python3 tests/check/lint.py --quick

# Which test kernels and unit tests ask what of each hypercall and operation.
attacks:
	@python3 tests/check/attacks.py

# The page of hypercalls, from the tables.
abi:
	@python3 scripts/abi.py

lint:
	@scripts/packages build lint
	@python3 tests/check/run.py; checks=$$?; python3 tests/check/lint.py && exit $$checks
