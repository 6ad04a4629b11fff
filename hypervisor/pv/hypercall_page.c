// SPDX-License-Identifier: MIT
/* The page of hypercall stubs that older kernels ask for. ABI: slot n loads number n and executes
 * `syscall`, preserving rcx and r11; the slot of iret does not return and leaves rcx, r11 and rax
 * on the stack for the hypervisor. */
#include "base/string.h"
#include "base/types.h"
#include "core/hooks.h"
#include "pv-abi/abi.h"

void hypercall_page_fill(void *page)
{
    static const uint8_t call[] = {
        0x51,                /* push %rcx */
        0x41, 0x53,          /* push %r11 */
        0xb8, 0x00, 0, 0, 0, /* mov $nr, %eax */
        0x0f, 0x05,          /* syscall */
        0x41, 0x5b,          /* pop %r11 */
        0x59,                /* pop %rcx */
        0xc3,                /* ret */
    };
    static const uint8_t iret[] = {
        0x51,       /* push %rcx */
        0x41, 0x53, /* push %r11 */
        0x50,       /* push %rax */
        0xb8, __HYPERVISOR_iret,
        0,    0,
        0,          /* mov $nr, %eax */
        0x0f, 0x05, /* syscall */
    };
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
