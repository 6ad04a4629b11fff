# SPDX-License-Identifier: MIT
# The control domain's programs. A folder's main.c is a program, its other files are its own only if
# the folder is vane/; all the rest is one library which programs and unit tests link. New files and
# folders are picked up without a change here.
DT_B := $(B)/dom0-tools
DT_PKGS := libxml-2.0 json-c zlib liblzma liblz4 libzstd ncursesw
DT_CFLAGS := $(HOST_CFLAGS) $(shell pkg-config --cflags $(DT_PKGS))
DT_ALL_LIBS := $(shell pkg-config --libs --static $(DT_PKGS)) -lbz2 -llzo2 -lxencall \
               -lxenforeignmemory -lxenevtchn -lxengnttab -lxenhypfs -lxentoollog \
               -lxentoolcore -lutil -lm
DT_LIBS := $(DT_ALL_LIBS) -Wl,--push-state,--no-as-needed -lgcc_s -Wl,--pop-state
# libgcc_s: libxenstore ends its reader thread with pthread_cancel(), which loads it by name at that
# moment; linked, it is found by whoever collects the libraries of an image.
# vane has its libraries in it: it runs for milliseconds, and finding them would take most of these.
# static/unused.c keeps what it never uses of them out, static/order.ld what it often uses together.
DT_STATIC := -static-pie -Wl,-z,pack-relative-relocs,--gc-sections,--no-warnings \
             -Wl,-T,dom0-tools/vane/static/order.ld \
             -Wl,--start-group $(filter-out -licu%,$(DT_ALL_LIBS)) -Wl,--end-group

DT_LIB_SRC := $(filter-out dom0-tools/vane/% %/main.c,$(wildcard dom0-tools/*/*.c))
DT_VANE_SRC := $(wildcard dom0-tools/vane/*.c)
DT_DAEMON_SRC := $(filter-out dom0-tools/vane/%,$(wildcard dom0-tools/*/main.c))
DT_DAEMONS := $(DT_DAEMON_SRC:dom0-tools/%/main.c=$(DT_B)/vane-%d)
DT_TEST_SRC := $(foreach d,$(notdir $(patsubst %/,%,$(wildcard dom0-tools/*/))),\
                 $(wildcard tests/unit/test_$(d)_*.c))
DT_TESTS := $(DT_TEST_SRC:tests/unit/%.c=$(DT_B)/tests/%)

dt_objs = $(patsubst dom0-tools/%.c,$(DT_B)/$(1)/%.o,$(2))

ALL += $(DT_B)/vane $(DT_DAEMONS) $(DT_B)/vane.1 $(DT_B)/vane.bash
UNIT_TESTS += $(DT_TESTS)

# Two builds of each object: obj/ as shipped, san/ under sanitizers for the unit tests.
$(DT_B)/obj/%.o: dom0-tools/%.c
	@mkdir -p $(@D)
	$(CC) $(DT_CFLAGS) -MMD -MP -c -o $@ $<
$(DT_B)/san/%.o: dom0-tools/%.c
	@mkdir -p $(@D)
	$(CC) $(DT_CFLAGS) $(SAN_CFLAGS) -MMD -MP -c -o $@ $<

$(DT_B)/libtools.a: $(call dt_objs,obj,$(DT_LIB_SRC))
$(DT_B)/libtools-san.a: $(call dt_objs,san,$(DT_LIB_SRC))
$(DT_B)/libtools.a $(DT_B)/libtools-san.a:
	rm -f $@
	$(AR) rcs $@ $^

$(DT_B)/unused.o: dom0-tools/vane/static/unused.c dom0-tools/build.mk
	@mkdir -p $(@D)
	$(CC) $(DT_CFLAGS) -DICU_VERSION=$$(pkg-config --modversion icu-uc | cut -d. -f1) -c -o $@ $<
$(DT_B)/vane: $(call dt_objs,obj,$(DT_VANE_SRC)) $(DT_B)/unused.o $(DT_B)/libtools.a dom0-tools/vane/static/order.ld
	$(CC) -o $@ $(filter-out %.ld,$^) $(DT_STATIC)
$(DT_DAEMONS): $(DT_B)/vane-%d: $(DT_B)/obj/%/main.o $(DT_B)/libtools.a
	$(CC) -o $@ $^ $(DT_LIBS)
$(DT_B)/tests/vane: $(call dt_objs,san,$(DT_VANE_SRC)) $(DT_B)/libtools-san.a
	@mkdir -p $(@D)
	$(CC) $(SAN_CFLAGS) -o $@ $^ $(DT_LIBS)
$(DT_B)/vane.1: $(DT_B)/vane
	$< --generate-man >$@
$(DT_B)/vane.bash: $(DT_B)/vane
	$< --generate-completion >$@

$(DT_TESTS): $(DT_B)/tests/%: tests/unit/%.c $(DT_B)/libtools-san.a
	@mkdir -p $(@D)
	$(CC) $(DT_CFLAGS) $(SAN_CFLAGS) -MMD -MP -MF $@.d -o $@ $< $(DT_B)/libtools-san.a $(DT_LIBS) -lcunit

# Xen's own library for xl's files judges beside ours.
$(DT_B)/tests/test_config_xlcfg: DT_LIBS += -lxlutil -lxenlight

# Files of the program itself.
DT_HV_WRAP := $(foreach f,xencall_open xencall_close xencall_alloc_buffer xencall_free_buffer xencall1 \
                xenforeignmemory_open xenforeignmemory_close,-Wl,--wrap=$(f))
$(DT_B)/tests/test_libhv_calls: private DT_LIBS += $(DT_B)/san/vane/look.o $(DT_B)/libtools-san.a $(DT_HV_WRAP)
$(DT_B)/tests/test_libhv_calls: $(DT_B)/san/vane/look.o
$(DT_B)/tests/test_vane_table: private DT_LIBS += $(DT_B)/san/vane/output.o $(DT_B)/libtools-san.a -Wl,--wrap=realloc
$(DT_B)/tests/test_vane_table: $(DT_B)/san/vane/output.o

$(DT_B)/tests/test_vane_look: private DT_LIBS += $(DT_B)/san/vane/look.o $(DT_B)/libtools-san.a -Wl,--wrap=send
$(DT_B)/tests/test_vane_look: $(DT_B)/san/vane/look.o

DT_SEE := $(DT_B)/san/vane/see.o $(DT_B)/san/vane/look.o $(DT_B)/san/vane/output.o
$(DT_B)/tests/test_vane_dmesg: private DT_LIBS += $(DT_SEE) $(DT_B)/libtools-san.a $(foreach f,look_open look_close hv_console_ring,-Wl,--wrap=$(f))
$(DT_B)/tests/test_vane_dmesg: $(DT_SEE)

# Against the daemon itself.
$(addprefix $(DT_B)/tests/test_,storeclient_client device_disk device_hostdev device_node vane_look vane_cli): | $(B)/xenstore-lite/xenstored
# Functions whose calls a single test takes over.
$(DT_B)/tests/test_storeclient_client: DT_LIBS += -Wl,--wrap=recv
$(DT_B)/tests/test_device_disk: DT_LIBS += $(foreach f,device_driver_check loop_attach loop_backing loop_find xs_read,-Wl,--wrap=$(f))
$(DT_B)/tests/test_builder_image: DT_LIBS += $(foreach f,elf_info_parse kernel_cache_get kernel_cache_put kernel_unpack,-Wl,--wrap=$(f))
$(DT_B)/tests/test_device_net: DT_LIBS += $(foreach f,bridge_port_lock device_wait_ready ioctl net_filter_put,-Wl,--wrap=$(f))
DT_DOMAINS_WRAP := $(foreach f,guest_open guest_died guest_finished guest_close hv_domain_info hv_domain_info_list xs_directory xs_watch xs_watch_domains xs_unwatch,-Wl,--wrap=$(f))
$(DT_B)/tests/test_console_domains: DT_LIBS += $(DT_DOMAINS_WRAP)
DT_FLOOD_WRAP := -Wl,--wrap=xs_read_many,--wrap=xs_write
$(DT_B)/tests/test_console_flood: DT_LIBS += $(DT_FLOOD_WRAP)

# These tests run the whole program.
$(DT_B)/tests/test_vane_shipped: | $(DT_B)/vane
$(filter $(DT_B)/tests/test_vane_%,$(DT_TESTS)): $(DT_B)/tests/vane

-include $(wildcard $(DT_B)/obj/*/*.d $(DT_B)/san/*/*.d $(DT_B)/tests/*.d)
