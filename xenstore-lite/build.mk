# SPDX-License-Identifier: MIT
# The store daemon, and its unit tests (which link the same pure files under sanitizers).
XS := $(B)/xenstore-lite
XS_PURE := mem map perm store quota wire watch txn turn conn server domain ops_node ops_conn ops_domain \
           ring journal
XS_IO := journal_file socket xen_io main
XS_LIBS := -lxenevtchn -lxengnttab -lxenforeignmemory -lxencall -lz
XS_TESTS := tree wire server domain txn ring journal socket

ALL += $(XS)/xenstored
UNIT_TESTS += $(XS_TESTS:%=$(XS)/test_store_%) $(XS)/test_store_steps

$(XS)/xenstored: $(XS_PURE:%=$(XS)/%.o) $(XS_IO:%=$(XS)/%.o)
	$(CC) $(HOST_CFLAGS) -o $@ $^ $(XS_LIBS)
$(XS)/san/xenstored: $(XS_PURE:%=$(XS)/san/%.o) $(XS_IO:%=$(XS)/san/%.o)
	$(CC) $(HOST_CFLAGS) $(SAN_CFLAGS) -o $@ $^ $(XS_LIBS)

$(XS)/%.o: xenstore-lite/%.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -MMD -c -o $@ $<
$(XS)/san/%.o: xenstore-lite/%.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) $(SAN_CFLAGS) -MMD -c -o $@ $<
$(XS)/san/test_%.o: tests/unit/test_%.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) $(SAN_CFLAGS) -MMD -c -o $@ $<

$(XS)/test_store_%: $(XS)/san/test_store_%.o $(XS)/san/test_store_util.o $(XS_PURE:%=$(XS)/san/%.o)
	$(CC) $(HOST_CFLAGS) $(SAN_CFLAGS) $(XS_WRAP) -o $@ $^ -lcunit -lz
$(XS)/test_store_journal: $(XS)/san/journal_file.o $(XS)/san/socket.o
$(XS)/test_store_journal: XS_WRAP := -Wl,--wrap=write
# Talks to a daemon of its own, through the stock client library.
$(XS)/test_store_socket: $(XS)/san/test_store_socket.o | $(XS)/san/xenstored
	$(CC) $(HOST_CFLAGS) $(SAN_CFLAGS) -o $@ $< -lcunit -lxenstore

# Counts what is run, so without sanitizers: every basic block of the store calls the test.
$(XS)/steps/%.o: xenstore-lite/%.c
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -O1 -fsanitize-coverage=trace-pc -MMD -c -o $@ $<
$(XS)/test_store_steps: tests/unit/test_store_steps.c tests/unit/test_store_util.c \
                        $(XS_PURE:%=$(XS)/steps/%.o)
	$(CC) $(HOST_CFLAGS) -o $@ $^ -lcunit -lz

.PRECIOUS: $(XS)/san/%.o
-include $(wildcard $(XS)/*.d $(XS)/san/*.d $(XS)/steps/*.d)
