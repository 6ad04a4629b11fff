# SPDX-License-Identifier: MIT
# The simulation of the scheduler: see tests/sched/sim.c. The files that decide are compiled as for
# the machine, without assertions; the functions of the others that are not reached are left out.
SIM := $(B)/sched-sim
SIM_SCHED := $(addprefix hypervisor/,base/heap.c core/sched.c core/sched_cap.c core/sched_fair.c \
               core/timer.c core/deferred.c)
SIM_OTHER := hypervisor/base/lock.c hypervisor/core/vcpu.c tests/sched/sim.c
SIM_CFLAGS = $(HOST_CFLAGS) -DDEBUG_BUILD=0 -ffunction-sections -fdata-sections -MMD -MP \
             -Itests/host -Ihypervisor
SIM_OBJ := $(SIM_OTHER:%.c=$(SIM)/%.o)
SIM_TIME_OBJ := $(SIM_SCHED:%.c=$(SIM)/%.o)
SIM_COUNT_OBJ := $(SIM_SCHED:%.c=$(SIM)/count/%.o)

UNIT_TESTS += $(SIM)/check

$(SIM_OBJ) $(SIM_TIME_OBJ): $(SIM)/%.o: %.c tests/sched/build.mk
	@mkdir -p $(@D)
	@$(CC) $(SIM_CFLAGS) -c -o $@ $<

$(SIM_COUNT_OBJ): $(SIM)/count/%.o: %.c tests/sched/build.mk
	@mkdir -p $(@D)
	@$(CC) $(SIM_CFLAGS) -fsanitize-coverage=trace-pc -c -o $@ $<

$(SIM)/sched_sim: $(SIM_OBJ) $(SIM_TIME_OBJ)
	@$(CC) -Wl,--gc-sections -o $@ $^ -lm

$(SIM)/sched_count: $(SIM_OBJ) $(SIM_COUNT_OBJ)
	@$(CC) -Wl,--gc-sections -o $@ $^ -lm

$(SIM)/check: $(SIM)/sched_count
	@printf '#!/bin/sh\nexec %s --check\n' $< > $@
	@chmod +x $@

.PHONY: bench-sched
bench-sched: $(SIM)/sched_sim $(SIM)/sched_count
	@$(SIM)/sched_sim
	@$(SIM)/sched_count

-include $(SIM_OBJ:.o=.d) $(SIM_TIME_OBJ:.o=.d) $(SIM_COUNT_OBJ:.o=.d)
