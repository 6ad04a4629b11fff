# SPDX-License-Identifier: MIT
# Fuzz targets: tests/fuzz/NAME.c, and NAME_FILES besides. Each is built twice: with the replay
# driver, for `make test`, from the objects of the unit tests; and with clang's libFuzzer, from
# objects of its own. See tests/fuzz/README.md.
FUZZ := $(B)/fuzz
FUZZ_HYP := elf insn hypercall
FUZZ_TOOLS := unpack xml
FUZZ_TARGETS := $(FUZZ_HYP) $(FUZZ_TOOLS) store
FUZZ_CC := clang

FUZZ_REPLAY := $(FUZZ_TARGETS:%=$(FUZZ)/fuzz_%)
UNIT_TESTS += $(FUZZ_REPLAY)

# Sources a target links besides its own: the same for both builds.
FUZZ_HYP_SRC := $(filter-out tests/unit/suite.c,$(HVU_SRC) $(HVU_HOST)) tests/fuzz/hyp.c
FUZZ_STORE_SRC := $(XS_PURE:%=xenstore-lite/%.c)

FUZZ_SAN := $(SAN_CFLAGS)
FUZZ_CLANG_SAN := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
                  -fno-omit-frame-pointer
FUZZ_CFLAGS := $(DT_CFLAGS) -O1 -DDEBUG_BUILD -MMD -MP -Itests/host -Itests/fuzz -Ihypervisor

$(FUZZ)/fuzz_unpack $(FUZZ)/clang/fuzz_unpack: \
  FUZZ_WRAP := -Wl,--wrap=malloc,--wrap=lzma_alone_decoder,--wrap=lzma_stream_decoder
$(FUZZ_HYP:%=$(FUZZ)/fuzz_%) $(FUZZ_HYP:%=$(FUZZ)/clang/fuzz_%): FUZZ_WRAP := $(HVU_WRAP)
$(FUZZ)/fuzz_hypercall $(FUZZ)/clang/fuzz_hypercall: \
  FUZZ_WRAP += -Wl,--wrap=domain_shutdown,--wrap=console_keys_handle

# ---- replay ----

$(FUZZ)/obj/%.o: tests/fuzz/%.c tests/fuzz/build.mk
	@mkdir -p $(@D)
	$(CC) $(FUZZ_CFLAGS) $(FUZZ_SAN) -c -o $@ $<
$(FUZZ)/obj/%-replay.o: tests/fuzz/replay.c tests/fuzz/build.mk
	@mkdir -p $(@D)
	$(CC) $(FUZZ_CFLAGS) $(FUZZ_SAN) -DFUZZ_NAME='"$*"' -c -o $@ $<

FUZZ_LINK = $(CC) $(FUZZ_SAN) $(FUZZ_WRAP) -o $@ $(filter %.o,$^) $(filter %.a,$^)
$(FUZZ_REPLAY): $(FUZZ)/fuzz_%: $(FUZZ)/obj/%.o $(FUZZ)/obj/%-replay.o
$(FUZZ_HYP:%=$(FUZZ)/fuzz_%): $(FUZZ)/obj/hyp.o $(filter-out %/suite.o,$(HVU_HOST_OBJ)) \
                              $(HVU)/libhv.a
	$(FUZZ_LINK)
$(FUZZ_TOOLS:%=$(FUZZ)/fuzz_%): $(DT_B)/libtools-san.a
	$(FUZZ_LINK) $(DT_LIBS)
$(FUZZ)/fuzz_store: $(XS_PURE:%=$(XS)/san/%.o)
	$(FUZZ_LINK) -lz

# ---- libFuzzer ----

# Comparisons are told to libFuzzer where there are magic numbers to be guessed. For the hypercall
# target, which makes typed arguments, that was more than half of the time.
FUZZ_MAGIC := tests/fuzz/% hypervisor/boot/% hypervisor/pv/insn.c hypervisor/pv/priv_emul.c \
              hypervisor/pv/msr.c dom0-tools/% xenstore-lite/%
$(FUZZ)/clang/%.o: %.c tests/fuzz/build.mk
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_CFLAGS) $(FUZZ_CLANG_SAN) \
	  $(if $(filter $(FUZZ_MAGIC),$<),,-fno-sanitize-coverage=trace-cmp) -c -o $@ $<

FUZZ_CLANG := $(FUZZ_TARGETS:%=$(FUZZ)/clang/fuzz_%)
fuzz_clang_objs = $(patsubst %.c,$(FUZZ)/clang/%.o,$(1))
FUZZ_CLANG_LINK = $(FUZZ_CC) -fsanitize=fuzzer,address,undefined $(FUZZ_WRAP) -o $@ \
                  $(filter %.o,$^)
$(FUZZ_CLANG): $(FUZZ)/clang/fuzz_%: $(FUZZ)/clang/tests/fuzz/%.o \
               $(FUZZ)/clang/tests/fuzz/libfuzzer.o
$(FUZZ_HYP:%=$(FUZZ)/clang/fuzz_%): $(call fuzz_clang_objs,$(FUZZ_HYP_SRC))
	$(FUZZ_CLANG_LINK)
$(FUZZ_TOOLS:%=$(FUZZ)/clang/fuzz_%): $(call fuzz_clang_objs,$(DT_LIB_SRC))
	$(FUZZ_CLANG_LINK) $(DT_LIBS)
$(FUZZ)/clang/fuzz_store: $(call fuzz_clang_objs,$(FUZZ_STORE_SRC))
	$(FUZZ_CLANG_LINK) -lz
.PRECIOUS: $(FUZZ)/clang/%.o $(FUZZ)/obj/%.o

# make fuzz SECONDS=60 [TARGET=store]: each target (or one) for so long; finds are in build/fuzz/.
TARGET ?= $(FUZZ_TARGETS)
.PHONY: fuzz fuzz-seeds
fuzz: $(patsubst %,$(FUZZ)/clang/fuzz_%,$(TARGET:fuzz_%=%))
	@status=0; for name in $(TARGET:fuzz_%=%); do \
	  tests/fuzz/run $$name $(SECONDS) || status=1; done; exit $$status

# Made anew after a change of seeds.py.
fuzz-seeds:
	@python3 tests/fuzz/seeds.py

-include $(wildcard $(FUZZ)/obj/*.d) $(shell find $(FUZZ)/clang -name '*.d' 2>/dev/null)
