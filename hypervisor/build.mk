# SPDX-License-Identifier: MIT
# The hypervisor: build/hypervisor/paravane (ELF64 with symbols, for debuggers) and paravane.bin,
# the flat multiboot 1 image that QEMU -kernel and GRUB load. HVDEBUG=0: without assertions.
# Sources are found by wildcard, one folder per layer; objects follow their sources' names.
HVDEBUG ?= 1
# More sources to link in, for experiments.
HV_EXTRA ?=
HVB := $(B)/hypervisor

HV_SRC := $(sort $(wildcard $(addprefix hypervisor/,base/*.c core/*.c pv/*.c boot/*.c \
            arch/x86_64/*.c arch/x86_64/*.S)))
HV_SRC := $(filter-out %.lds.S,$(HV_SRC)) $(HV_EXTRA)
HV_OBJ := $(HV_SRC:%=$(HVB)/%.o)

# Only the compiler's own headers and <xen/...>: no header of the host's C library is in reach.
HV_INCLUDE = -nostdinc -isystem $(shell $(CC) -print-file-name=include) -isystem $(HVB)/include \
             -I. -Ihypervisor -Ihypervisor/arch/x86_64
# Indirect branches go through the thunks of arch/x86_64/retpoline.S, and after the last link it is
# looked that all do.
HV_BRANCHES = -fno-jump-tables $(if $(findstring clang,$(shell $(CC) --version)),\
                -mretpoline -mretpoline-external-thunk,\
                -mindirect-branch=thunk-extern -mindirect-branch-register)
HV_CFLAGS = -std=gnu11 -O2 -g -ffreestanding -fpie -fvisibility=hidden $(HV_BRANCHES) \
            -include hypervisor/arch/x86_64/hidden.h \
            -mno-red-zone -mgeneral-regs-only -mno-sse -fno-stack-protector \
            -fno-strict-aliasing -fno-asynchronous-unwind-tables \
            -fcf-protection=none -fno-delete-null-pointer-checks \
            -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Werror \
            $(if $(filter 0,$(HVDEBUG)),,-fno-omit-frame-pointer) \
            -MMD -MP -DDEBUG_BUILD=$(HVDEBUG) $(HV_INCLUDE)
HV_LDFLAGS := -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none \
              --no-warn-rwx-segments --orphan-handling=error

ALL += $(HVB)/paravane.bin

# Rebuild everything when the compiler or its flags change.
$(HVB)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(HV_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(HV_CFLAGS)' > $@

$(HVB)/include/xen:
	@mkdir -p $(@D)
	@ln -sfn /usr/include/xen $@

$(HV_OBJ): $(HVB)/%.o: % $(HVB)/flags | $(HVB)/include/xen
	@mkdir -p $(@D)
	@echo '  CC $<'
	@$(CC) $(HV_CFLAGS) $(if $(filter %.S,$<),-D__ASSEMBLY__) -c -o $@ $<

$(HVB)/link.lds: hypervisor/arch/x86_64/link.lds.S $(HVB)/flags
	@$(CC) -E -P -x c -D__ASSEMBLY__ -MMD -MT $@ -MF $@.d -Ihypervisor -o $@ $<

# Two links: the symbol table of the first goes into the second. It comes after all code, so
# code addresses do not move.
$(HVB)/symbols0.S: scripts/symbols.awk $(HVB)/flags
	@awk -f scripts/symbols.awk < /dev/null > $@
$(HVB)/pass1: $(HV_OBJ) $(HVB)/symbols0.o $(HVB)/link.lds
	@$(LD) $(HV_LDFLAGS) -T $(HVB)/link.lds -o $@ $(HV_OBJ) $(HVB)/symbols0.o
$(HVB)/symbols.S: $(HVB)/pass1 scripts/symbols.awk
	@nm -n $< | awk -f scripts/symbols.awk > $@
$(HVB)/symbols0.o $(HVB)/symbols.o: %.o: %.S
	@$(CC) -c -o $@ $<
$(HVB)/paravane: $(HV_OBJ) $(HVB)/symbols.o $(HVB)/link.lds
	@$(LD) $(HV_LDFLAGS) -T $(HVB)/link.lds -o $@ $(HV_OBJ) $(HVB)/symbols.o
	@if objdump -d $@ | grep -E '[[:space:]]l?(jmp|call)q?[[:space:]]+\*'; then \
	  echo 'indirect branches that a guest can train'; exit 1; fi
$(HVB)/paravane.bin: $(HVB)/paravane
	@echo '  IMAGE $@'
	@objcopy -O binary $< $@

# The start-up code that reads what firmware and boot loader left, tested as an ordinary program.
HVS := $(B)/unit/start
HVS_SRC := $(addprefix hypervisor/,base/format.c base/lock.c base/cmdline.c boot/multiboot.c \
             arch/x86_64/memmap.c arch/x86_64/acpi.c) tests/unit/test_start.c
HVS_OBJ := $(HVS_SRC:%=$(HVS)/%.o)
HVS_SPEC := $(addprefix hypervisor/,base/format.c base/cmdline.c base/protection.c \
             arch/x86_64/speculation.c) \
             tests/unit/test_speculation.c
HVS_SPEC_OBJ := $(HVS_SPEC:%=$(HVS)/%.o)
HVS_XPTI_OBJ := $(HVS)/tests/unit/test_xpti.c.o
UNIT_TESTS += $(HVS)/test_start $(HVS)/test_speculation $(HVS)/test_xpti
$(sort $(HVS_OBJ) $(HVS_SPEC_OBJ) $(HVS_XPTI_OBJ)): $(HVS)/%.o: % hypervisor/build.mk
	@mkdir -p $(@D)
	@$(CC) $(HOST_CFLAGS) $(SAN_CFLAGS) -DDEBUG_BUILD -MMD -MP -Itests/host -Ihypervisor -c -o $@ $<
$(HVS)/test_start: $(HVS_OBJ)
$(HVS)/test_speculation: $(HVS_SPEC_OBJ)
$(HVS)/test_xpti: $(HVS_XPTI_OBJ)
$(HVS)/test_start $(HVS)/test_speculation $(HVS)/test_xpti:
	@$(CC) $(SAN_CFLAGS) -o $@ $^ -lcunit

# The table of command line options, as documentation.
.PHONY: options FORCE
options:
	@awk -f scripts/options.awk hypervisor/base/cmdline.def

-include $(HV_OBJ:.o=.d) $(HVS_OBJ:.o=.d) $(HVS_SPEC_OBJ:.o=.d) $(HVS_XPTI_OBJ:.o=.d) $(HVB)/link.lds.d
