# SPDX-License-Identifier: MIT
# `make bench`: what each system costs, counted in instructions (default) or, MODE=wall, timed.
# Systems in one run: Paravane, Debian's Xen 4.17, the bare machine. ROWS=, SYSTEMS= choose.
BENCH_B := $(B)/bench

$(BENCH_B)/ops: tests/bench/ops.c tests/bench/build.mk
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O2 -Wall -Wextra -Wshadow -Werror -static -pthread -o $@ $<
$(BENCH_B)/ticks $(BENCH_B)/split: $(BENCH_B)/%: tests/bench/%.c tests/bench/build.mk
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 -O2 -Wall -Wextra -Wshadow -Werror -static -o $@ $<
$(BENCH_B)/raw.o $(BENCH_B)/pair.o: $(BENCH_B)/%.o: tests/bench/raw/%.c tests/bench/build.mk | $(HVB)/include/xen
	@mkdir -p $(@D)
	@$(CC) $(G_CFLAGS) -MMD -MP -c -o $@ $<
$(BENCH_B)/raw.elf $(BENCH_B)/pair.elf: %.elf: %.o $(G_B)/lib.a tests/guests/lib/link.lds
	@$(LD) -nostdlib -static -z max-page-size=4096 -z noexecstack --build-id=none \
	  --no-warn-rwx-segments -T tests/guests/lib/link.lds -o $@ --whole-archive $(G_B)/lib.a \
	  --no-whole-archive $*.o
ALL += $(BENCH_B)/ops $(BENCH_B)/ticks $(BENCH_B)/split $(BENCH_B)/raw.elf $(BENCH_B)/pair.elf

.PHONY: bench bench-run
bench:
	@scripts/packages build run
	@$(MAKE) --no-print-directory bench-run
bench-run: all $(if $(filter-out raw,$(or $(ROWS),all)),image)
	@$(MAKE) --no-print-directory HVDEBUG=0 HVB=$(B)/release $(B)/release/paravane.bin
	@scripts/fetch peer
	@python3 tests/bench/$(if $(filter wall,$(MODE)),$(if $(filter split,$(ROWS)),run,boot_time),run).py

# The store's requests, growth, and Debian's xenstored beside it.
.PHONY: bench-store
$(BENCH_B)/store: tests/bench/store.c tests/bench/build.mk
	@mkdir -p $(@D)
	@$(CC) $(HOST_CFLAGS) -o $@ $<
$(BENCH_B)/no_xen.so: tests/bench/no_xen.c tests/bench/build.mk
	@mkdir -p $(@D)
	@$(CC) $(HOST_CFLAGS) -fPIC -shared -o $@ $<
ALL += $(BENCH_B)/store $(BENCH_B)/no_xen.so
bench-store: $(BENCH_B)/store $(BENCH_B)/no_xen.so $(B)/xenstore-lite/xenstored
	@scripts/fetch store || echo "bench-store: Debian's xenstored cannot be had"
	@python3 tests/bench/store.py

# The console daemon's loop as it is shipped, without sanitizers: rate, share, lateness.
.PHONY: bench-console
$(BENCH_B)/console: tests/unit/test_console_flood.c $(DT_B)/libtools.a tests/bench/build.mk
	@mkdir -p $(@D)
	@$(CC) $(DT_CFLAGS) -o $@ $< $(DT_B)/libtools.a $(DT_LIBS) $(DT_FLOOD_WRAP) -lcunit
bench-console: $(BENCH_B)/console
	@CONSOLE_BENCH=1 $<
export MODE ROWS SYSTEMS PAIRS NODES STORES

-include $(BENCH_B)/raw.d $(BENCH_B)/pair.d
