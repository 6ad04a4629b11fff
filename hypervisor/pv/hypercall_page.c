// SPDX-License-Identifier: MIT
/* The page of hypercall stubs that older kernels ask for. ABI: slot n (32 bytes each) loads number
 * n and executes `syscall`, preserving rcx and r11; the slot of iret does not return and leaves
 * rcx, r11 and rax on the stack for the hypervisor. */
#include "base/string.h"
#include "core/frame.h"
#include "core/hooks.h"
#include "pv-abi/abi.h"

/* push %rcx; push %r11; mov $0, %eax; syscall; pop %r11; pop %rcx; ret */
static const uint8_t call[] = {0x51, 0x41, 0x53, 0xb8, 0,    0,    0,
                               0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
/* push %rcx; push %r11; push %rax; mov $__HYPERVISOR_iret, %eax; syscall */
static const uint8_t iret[] = {0x51, 0x41, 0x53, 0x50, 0xb8, __HYPERVISOR_iret,
                               0,    0,    0,    0x0f, 0x05};

void hypercall_page_fill(void *page)
{
    memset(page, 0xcc, PAGE_SIZE);
    for (unsigned nr = 0; nr < PAGE_SIZE / 32; nr++) {
        uint8_t *slot = (uint8_t *)page + nr * 32;
        if (nr == __HYPERVISOR_iret) {
            memcpy(slot, iret, sizeof(iret));
        } else {
            memcpy(slot, call, sizeof(call));
            slot[4] = (uint8_t)nr;
        }
    }
}

bool hypercall_page_write(struct domain *d, mfn_t mfn)
{
    struct frame *f = frame_get_writable_mfn(mfn, d);
    if (f) {
        hypercall_page_fill(frame_to_virt(f));
        frame_put_writable_and_ref(f);
    }
    return f;
}
