# SPDX-License-Identifier: MIT
# make coverage: the host's tests of the hypervisor once more, in build/coverage, without
# sanitizers and optimisation, counting what they execute. tests/check/coverage.py says what counts.
# MISSED=hypervisor/core/vcpu.c also prints the lines and branches of a file that are missed.
COV := $(B)/coverage
COV_PROGRAMS := $(patsubst $(B)/%,$(COV)/%,$(HVU_PROGRAMS) $(HVS)/test_start)
COV_MODEL := $(COV)/model/check
COV_FLAGS := --coverage -O0 -Wl,-u,__gcov_dump

.PHONY: coverage
coverage:
	@$(MAKE) --no-print-directory -s B=$(COV) SAN_CFLAGS='$(COV_FLAGS)' \
	  $(COV)/unit/libhv.a $(COV_PROGRAMS) $(COV_MODEL)
	@MISSED='$(MISSED)' python3 tests/check/coverage.py $(COV) $(COV_PROGRAMS) \
	  -- $(COV_MODEL) $(wildcard tests/model/cases/*) -- $(COV_MODEL) SEED=1 STEPS=4000
