# SPDX-License-Identifier: MIT
# Test kernels: each folder of tests/guests with a main.c becomes build/guests/NAME, linked with
# lib/. They see the compiler's own headers and the installed <xen/...>, nothing else.
G_B := $(B)/guests
G_NAMES := $(sort $(patsubst tests/guests/%/main.c,%,$(wildcard tests/guests/*/main.c)))
G_LIB := $(patsubst tests/guests/lib/%,$(G_B)/lib/%.o,\
           $(wildcard tests/guests/lib/*.c tests/guests/lib/*.S))
G_KERNELS := $(G_NAMES:%=$(G_B)/%.elf)
G_CFLAGS = -std=gnu11 -O2 -g -ffreestanding -fno-pic -mcmodel=kernel -mno-red-zone \
           -mgeneral-regs-only -fno-stack-protector -fcf-protection=none -fno-strict-aliasing \
           -fno-asynchronous-unwind-tables -fno-delete-null-pointer-checks -fno-omit-frame-pointer \
           -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Werror \
           -nostdinc -isystem $(shell $(CC) -print-file-name=include) -isystem $(HVB)/include \
           -I. -Itests/guests/lib

ALL += $(G_KERNELS)

$(G_B)/lib/%.o: tests/guests/lib/% | $(HVB)/include/xen
	@mkdir -p $(@D)
	@$(CC) $(G_CFLAGS) -MMD -MP $(if $(filter %.S,$<),-D__ASSEMBLY__) -c -o $@ $<
$(G_B)/%.o: tests/guests/%/main.c tests/guests/build.mk | $(HVB)/include/xen
	@mkdir -p $(@D)
	@$(CC) $(G_CFLAGS) -Wno-missing-prototypes -MMD -MP -c -o $@ $<
$(G_B)/lib.a: $(G_LIB)
	@rm -f $@
	@$(AR) rcs $@ $^
$(G_KERNELS): $(G_B)/%.elf: $(G_B)/%.o $(G_B)/lib.a tests/guests/lib/link.lds
	@echo '  GUEST $*'
	@$(LD) -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none \
	  --no-warn-rwx-segments -T tests/guests/lib/link.lds -o $@ --whole-archive $(G_B)/lib.a \
	  --no-whole-archive $(G_B)/$*.o

# Those that need no other domain, in the control domain's place: no Linux, no tools. ONLY=name,name,
# CPU="model model", HV_ARGS=options of the hypervisor.
.PHONY: alone bochs
alone: packages-run
	@$(MAKE) --no-print-directory all
	@BOOT=alone python3 tests/boot/run.py

# The same in Bochs, a stricter processor; some seconds each.
bochs:
	@scripts/packages build test bochs
	@$(MAKE) --no-print-directory all
	@BOOT=bochs-all python3 tests/boot/run.py

# How many instructions each call runs with interrupts off, at worst; the second with Linux.
.PHONY: bound
bound: all image
	@BOOT=bound,bound-linux python3 tests/boot/run.py

# All of them beside the canary, or ONLY=name,name; torture: random calls for SECONDS from SEED.
.PHONY: guests torture
guests: all image
	@BOOT=guests python3 tests/boot/run.py
torture: all image
	@BOOT=torture python3 tests/boot/run.py
export ONLY SECONDS SEED

-include $(wildcard $(G_B)/*.d $(G_B)/lib/*.d)
