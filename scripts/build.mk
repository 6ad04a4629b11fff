# SPDX-License-Identifier: MIT
# What is run rather than compiled: Debian's packages, the images, the machine in QEMU.
# Packages come first and in a make of their own, because other build.mk ask pkg-config while make
# reads them.
HV ?= paravane
export B HV BATCH ACCEL CPU CPUS MACHINE MEMORY DOM0_MEM HV_ARGS DOM0_ARGS MODE

.PHONY: run image fetch packages-run
run: packages-run
	@$(MAKE) --no-print-directory all image
	@python3 scripts/run.py

packages-run:
	@scripts/packages build run

fetch:
	@scripts/fetch run
	@if [ "$(HV)" = xen ]; then scripts/fetch peer; fi

image: fetch all
	@python3 scripts/image.py
