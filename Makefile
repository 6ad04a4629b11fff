# SPDX-License-Identifier: MIT
# Paravane's one make. Each folder keeps its own list of objects in <folder>/build.mk; everything
# built or downloaded goes under build/.
B := build
CC ?= gcc
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

# Flags shared by every hosted program of the repo (tools, store, unit tests).
HOST_CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
               -Wundef -Wvla -Werror -D_GNU_SOURCE -D__XEN_TOOLS__ -I. -Ipv-abi
SAN_CFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# A folder's build.mk adds to these:
ALL :=          # files that `make` builds
UNIT_TESTS :=   # host test programs; each exits 0 when all of its cases pass
LOC_DIRS := hypervisor

-include hypervisor/build.mk
-include xenstore-lite/build.mk
-include dom0-tools/build.mk
-include scripts/build.mk
-include tests/build.mk

.PHONY: all clean
all: $(ALL)
clean:
	rm -rf $(filter-out $(B)/dl $(B)/x $(B)/deb,$(wildcard $(B)/*))
