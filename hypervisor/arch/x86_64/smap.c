// SPDX-License-Identifier: MIT
/*
 * Supervisor access prevention: the hypervisor cannot touch memory that guests can, but where
 * uaccess.c opens a window for it. Some emulators take the stack read of an IRETQ executed at CPL 3
 * for an access of the supervisor, and the kernel of a paravirtual Linux executes such a one: so it
 * is tried out before SMAP stays on. Runs once, on the first CPU, before there are guests.
 */
#include "asm.h"
#include "base/cmdline.h"
#include "base/protection.h"
#include "base/string.h"
#include "machine.h"

/* Pages of the per-CPU block that nothing else uses. */
#define PROBE_CODE 0x38000
#define PROBE_STACK 0x39000

bool smap_on;

void patch_code(unsigned feature)
{
    WRITE_CR(0, READ_CR(0) & ~X86_CR0_WP); /* no mapping of the code is writable */
    for (const struct code_patch *p = __patches_start; p < __patches_end; p++) {
        if (p->feature == feature) {
            memcpy((void *)p->at, p->insn, p->length);
        }
    }
    WRITE_CR(0, READ_CR(0) | X86_CR0_WP);
}

/* Go to `rip` and stack `rsp` at CPL 3, where no register is changed; probe_good and probe_bad, as
 * handlers of what is raised there, make it return true and false. */
bool probe_run(vaddr_t rip, vaddr_t rsp);
void probe_good(void);
void probe_bad(void);
extern const uint8_t probe_user[];
__asm__(".text\n"
        "probe_run:\n"
        "    mov %rsp, %rdx\n"
        "    push $" QUOTED(SEL_GUEST_DS) "\n"
                                          "    push %rsi\n"
                                          "    push $2\n"
                                          "    push $" QUOTED(
                                              SEL_GUEST_CS64) "\n"
                                                              "    push %rdi\n"
                                                              "    iretq\n"
                                                              "probe_bad:\n"
                                                              "    xor %eax, %eax\n"
                                                              "    jmp 1f\n"
                                                              "probe_good:\n"
                                                              "    mov $1, %eax\n"
                                                              "1:  mov %rdx, %rsp\n"
                                                              "    ret\n"
                                                              "    .balign 16\n" /* in one page */
                                                              "probe_user:\n"
                                                              "    iretq\n"
                                                              "    int3\n");

/* May code at CPL 3 execute IRETQ while SMAP is on? */
static bool iretq_works(void)
{
    static uint64_t frame[5] __attribute__((aligned(64)));
    vaddr_t block = percpu_block();
    vaddr_t code = block + PROBE_CODE + ((vaddr_t)probe_user & ~PAGE_MASK);
    vaddr_t stack = block + PROBE_STACK + ((vaddr_t)frame & ~PAGE_MASK);
    const uint64_t at_int3[] = {code + 2, SEL_GUEST_CS64, X86_EFLAGS_FIXED, stack, SEL_GUEST_DS};
    memcpy(frame, at_int3, sizeof(frame));
    hyp_map_page(block + PROBE_CODE, image_maddr(probe_user) >> PAGE_SHIFT,
                 X86_PTE_P | X86_PTE_A | X86_PTE_US);
    hyp_map_page(block + PROBE_STACK, image_maddr(frame) >> PAGE_SHIFT,
                 X86_PTE_P | X86_PTE_A | X86_PTE_US | X86_PTE_NX);
    trap_gate_set(TRAP_BP, (vaddr_t)probe_good);
    trap_gate_set(TRAP_PF, (vaddr_t)probe_bad);
    WRITE_CR(4, READ_CR(4) | X86_CR4_SMAP);
    bool works = probe_run(code, stack);
    WRITE_CR(4, READ_CR(4) & ~X86_CR4_SMAP);
    trap_gate_set(TRAP_BP, 0);
    trap_gate_set(TRAP_PF, 0);
    hyp_map_page(block + PROBE_CODE, INVALID_MFN, 0);
    hyp_map_page(block + PROBE_STACK, INVALID_MFN, 0);
    arch_tlb_flush_local(FLUSH_ONE, block + PROBE_CODE);
    arch_tlb_flush_local(FLUSH_ONE, block + PROBE_STACK);
    return works;
}

void smap_init(void)
{
    if (!cpu_has(CPU_SMAP)) {
        protection_report("SMAP", "off: not in this processor");
    } else if (!strcmp(cmdline.smap, "no")) {
        protection_report("SMAP", "off: by option");
    } else if (strcmp(cmdline.smap, "yes") && !iretq_works()) {
        protection_report("SMAP", "off: this machine does not let user mode execute IRETQ with it");
    } else {
        protection_report("SMAP", "on");
        smap_on = true;
        patch_code(PATCH_SMAP);
        WRITE_CR(4, READ_CR(4) | X86_CR4_SMAP);
    }
}
