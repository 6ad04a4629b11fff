# SPDX-License-Identifier: MIT
# Unit tests of the hypervisor: base, core, pv and the pure files of boot compiled natively under
# sanitizers into an archive, tests/host in the place of arch/x86_64, one program for each
# tests/unit/test_*.c that includes "host.h" or "suite.h".
HVU := $(B)/unit
HVU_SRC := $(filter-out hypervisor/base/string.c, \
             $(wildcard $(addprefix hypervisor/,base/*.c core/*.c pv/*.c)) \
             $(wildcard hypervisor/boot/elf.c hypervisor/arch/x86_64/wx.c))
HVU_HOST := $(wildcard tests/host/*.c) tests/unit/suite.c
HVU_TESTS := $(shell grep -lE '"(host|suite).h"' tests/unit/test_*.c)
HVU_PROGRAMS := $(HVU_TESTS:tests/unit/%.c=$(HVU)/%)

HVU_CFLAGS = $(HOST_CFLAGS) -O1 $(SAN_CFLAGS) -DDEBUG_BUILD -MMD -MP -Itests/host -Itests/unit \
             -Ihypervisor
HVU_WRAP := -Wl,--wrap=hyp_alloc,--wrap=frame_alloc_hyp

HVU_OBJ := $(HVU_SRC:%.c=$(HVU)/%.o)
HVU_HOST_OBJ := $(HVU_HOST:%.c=$(HVU)/%.o)
HVR_HOST_OBJ := $(addprefix $(HVU)/tests/unit/,real_code.o real_guest.o)
HVU_TEST_OBJ := $(HVU_TESTS:%.c=$(HVU)/%.o) $(HVR_HOST_OBJ)

UNIT_TESTS += $(HVU_PROGRAMS)

# Functions whose calls a single test takes over.
$(HVU)/test_evtchn: HVU_WRAP += -Wl,--wrap=spin_lock_pair
$(HVU)/test_sched_smp: HVU_WRAP += -Wl,--wrap=arch_context_switch,--wrap=spin_lock_checked
$(HVU)/test_sched_op: HVU_WRAP += -Wl,--wrap=sched_pause

$(HVU_OBJ) $(HVU_HOST_OBJ) $(HVU_TEST_OBJ): $(HVU)/%.o: %.c tests/unit/build.mk
	@mkdir -p $(@D)
	$(CC) $(HVU_CFLAGS) -c -o $@ $<

# An archive, so that a test links only what it reaches.
$(HVU)/libhv.a: $(HVU_OBJ)
	rm -f $@
	$(AR) rcs $@ $^

$(HVU_PROGRAMS): $(HVU)/%: $(HVU)/tests/unit/%.o $(HVU_HOST_OBJ) $(HVU)/libhv.a
	$(CC) $(HVU_CFLAGS) $(HVU_WRAP) -o $@ $< $(HVU_HOST_OBJ) $(HVU)/libhv.a -lcunit

# Machine code of the product, with the product's own view of its stack, to be run by real_code.c.
# Its addresses are absolute: those programs are not position-independent.
# The address sanitizer does not follow where it leaves one stack for another.
comma := ,
HVR := $(HVU)/real
HVR_OBJ := $(addprefix $(HVR)/,entry.o retpoline.o trap_entry.o)
HVR_CFLAGS := -fno-pie -mstackrealign -Ihypervisor/arch/x86_64 -Ihypervisor
$(HVR)/%.o: hypervisor/arch/x86_64/%.S tests/unit/build.mk
	@mkdir -p $(@D)
	$(CC) -g $(HVR_CFLAGS) -I. -Ipv-abi -D__ASSEMBLY__ -MMD -MP -c -o $@ $<
$(HVR)/%.o: hypervisor/arch/x86_64/%.c tests/unit/build.mk
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -O1 $(subst address$(comma),,$(SAN_CFLAGS)) -DDEBUG_BUILD -MMD -MP \
	  $(HVR_CFLAGS) -c -o $@ $<
$(HVU)/test_real_entry: $(HVR_OBJ) $(HVR_HOST_OBJ)
$(HVU)/test_real_entry: HVU_WRAP += -no-pie $(HVR_OBJ) $(HVR_HOST_OBJ) \
    $(foreach c,syscall hypercall event_send guest_trap enter failsafe exit,-Wl$(comma)--wrap=upcall_$(c)) \
    -Wl,--defsym=__ex_table_start=__start___ex_table,--defsym=__ex_table_end=__stop___ex_table

# Others of it, each alone.
HVR_ALONE := $(addprefix $(HVU)/test_real_,uaccess tlb switch)
UNIT_TESTS += $(HVR_ALONE)
HVR_ALONE_OBJ := $(HVR_ALONE:$(HVU)/%=$(HVU)/tests/unit/%.o)
$(HVR_ALONE_OBJ): $(HVU)/%.o: %.c tests/unit/build.mk
	@mkdir -p $(@D)
	$(CC) $(HVU_CFLAGS) -c -o $@ $<
$(HVU)/test_real_uaccess: $(HVR)/uaccess.o
$(HVU)/test_real_switch: $(HVR)/switch.o
# It needs the struct of the real arch_inline.h.
$(HVU)/tests/unit/test_real_switch.o: HVU_CFLAGS := -Ihypervisor/arch/x86_64 $(HVU_CFLAGS)
$(HVR_ALONE): $(HVU)/%: $(HVU)/tests/unit/%.o $(HVU)/tests/unit/real_code.o
	$(CC) $(HVU_CFLAGS) -no-pie -o $@ $^ -lcunit

-include $(HVR_ALONE_OBJ:.o=.d) $(HVU_OBJ:.o=.d) $(wildcard $(HVR)/*.d) $(HVU_HOST_OBJ:.o=.d) $(HVU_TEST_OBJ:.o=.d)
