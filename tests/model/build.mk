# SPDX-License-Identifier: MIT
# The model checker of the PV MMU: linked like a unit test, see tests/model/README.md.
MODEL_SRC := $(wildcard tests/model/*.c)
MODEL_OBJ := $(MODEL_SRC:%.c=$(B)/unit/%.o)
MODEL_CHECK := $(B)/model/check
MODEL_WRAP := -Wl,--wrap=spin_lock_checked,--wrap=spin_unlock_checked,--wrap=spin_lock_pair,--wrap=spin_unlock_pair

UNIT_TESTS += $(MODEL_CHECK)

# The recount is most of the time; it looks at what the hypervisor did, and is not what is tested.
$(B)/unit/tests/model/oracle.o: HVU_CFLAGS += -O2 -fno-sanitize=all

$(MODEL_OBJ): $(B)/unit/%.o: %.c tests/unit/build.mk tests/model/build.mk
	@mkdir -p $(@D)
	$(CC) $(HVU_CFLAGS) -c -o $@ $<

$(MODEL_CHECK): $(MODEL_OBJ) $(filter-out %/suite.o,$(HVU_HOST_OBJ)) $(HVU)/libhv.a
	@mkdir -p $(@D)
	$(CC) $(HVU_CFLAGS) $(HVU_WRAP) $(MODEL_WRAP) -o $@ $(MODEL_OBJ) \
	  $(filter-out %/suite.o,$(HVU_HOST_OBJ)) $(HVU)/libhv.a

# make model SECONDS=60 SEED=1 STEPS=400 PREEMPT=35
SECONDS ?= 60
.PHONY: model model-mutants
model: $(MODEL_CHECK)
	@$(MODEL_CHECK) SECONDS=$(SECONDS) $(foreach v,SEED STEPS PREEMPT,$(if $($v),$v=$($v)))

# Does it find bugs? Each of a list of mistakes is made in a copy and must be found.
model-mutants:
	@python3 tests/model/mutants.py

-include $(MODEL_OBJ:.o=.d)
