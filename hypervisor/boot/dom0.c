// SPDX-License-Identifier: MIT
/*
 * Builds the control domain: memory, kernel and initrd, page tables, start information, first
 * registers. Runs once at start-up, before any guest, so it takes locks only where the functions it
 * calls want them.
 *
 * Pseudo-physical layout (all frames backed; the part up to v_end is mapped at virt_base):
 *   kernel | start info | page tables | boot stack | slack up to v_end | initrd | p2m | its tables
 */
#include "base/assert.h"
#include "base/cmdline.h"
#include "base/format.h"
#include "base/log.h"
#include "base/string.h"
#include "boot/boot.h"
#include "core/domain.h"
#include "core/hooks.h"
#include "core/hypercall.h"
#include "pv/page_type.h"
#include "pv/trap.h"

#define MIB (1UL << 20)
#define PAGES_PER_MIB (MIB / PAGE_SIZE)
#define PAGE_RO (X86_PTE_P | X86_PTE_US | X86_PTE_A | X86_PTE_D)
#define PAGE_RW (PAGE_RO | X86_PTE_RW)
#define BUILD_ORDER_MAX 10 /* chunks of 4 MiB at most */

struct build {
    struct domain *d;
    struct elf_image elf;
    const struct boot_module *kernel, *initrd; /* an initrd that is not there has no bytes */
    uint64_t page_count;
    /* first pfn of each part; used: all of these are below */
    pfn_t start_info, tables, stack, v_end, p2m, p2m_tables, used;
    mfn_t *frames; /* mfn of every pfn, while building */
};

/* ---- layout ---- */

/* Tables below level 4 that map `pages` pages at `start`. */
static uint64_t tables_for(vaddr_t start, uint64_t pages)
{
    uint64_t end = start + pages * PAGE_SIZE - 1, n = 0;
    for (unsigned level = 2; level <= 4; level++) {
        n += (end >> PT_SHIFT(level)) - (start >> PT_SHIFT(level)) + 1;
    }
    return n;
}

static void lay_out(struct build *b)
{
    b->start_info = DIV_ROUND_UP(b->elf.high_paddr, PAGE_SIZE);
    b->tables = b->start_info + 1;
    uint64_t need = 4;
    do {
        b->stack = b->tables + need;
        /* ABI: the mapping ends on 4 MiB and leaves 512 KiB of room behind the stack. */
        b->v_end = ROUND_UP((b->stack + 1) * PAGE_SIZE + MIB / 2, 4 * MIB) / PAGE_SIZE;
        need = 1 + tables_for(b->elf.virt_base, b->v_end);
    } while (need > b->stack - b->tables);
    b->p2m = b->v_end + DIV_ROUND_UP(b->initrd->bytes, PAGE_SIZE);
    b->p2m_tables = b->p2m + DIV_ROUND_UP(b->page_count, PT_ENTRIES);
    b->used = b->p2m_tables + tables_for(b->elf.init_p2m, b->p2m_tables - b->p2m);
    if (b->used > b->page_count) {
        panic("dom0: %lu MiB do not hold kernel and initrd (%lu MiB needed); raise dom0_mem=",
              b->page_count / PAGES_PER_MIB, b->used / PAGES_PER_MIB + 1);
    }
}

/* ---- memory ---- */

static uint64_t dom0_pages(void)
{
    uint64_t free = frame_free_count(), most = free - MIN(free, 8 * PAGES_PER_MIB);
    uint64_t want = cmdline.dom0_mem / PAGE_SIZE;
    if (!want) {
        /* Half of the machine leaves room for guests without ballooning; a small machine gives
         * most of itself. */
        want = MAX(free / 2, MIN(free - free / 8, 512 * PAGES_PER_MIB));
        want = MIN(want, 4096 * PAGES_PER_MIB);
    }
    if (want > most) {
        printk("dom0_mem: %lu MiB wanted, %lu MiB given\n", want / PAGES_PER_MIB,
               most / PAGES_PER_MIB);
    }
    return MIN(want, most);
}

/* Frames in big pieces, in order of pfn. Only those the layout uses are cleared. */
static void populate(struct build *b)
{
    unsigned order = BUILD_ORDER_MAX;
    for (pfn_t pfn = 0; pfn < b->page_count;) {
        bool fits = 1UL << order <= b->page_count - pfn;
        struct frame *f = fits ? frame_alloc_control(b->d, order) : NULL;
        if (!f) {
            if (order-- == 0) {
                panic("dom0: out of memory at %lu of %lu pages", pfn, b->page_count);
            }
            continue;
        }
        mfn_t mfn = frame_to_mfn(f);
        for (unsigned i = 0; i < 1U << order; i++, pfn++) {
            b->frames[pfn] = mfn + i;
            m2p_set(mfn + i, pfn);
            if (pfn < b->used) {
                arch_page_clear(mfn_to_virt(mfn + i));
            }
        }
    }
}

static mfn_t pfn_to_mfn(const struct build *b, pfn_t pfn)
{
    BUG_ON(pfn >= b->page_count);
    return b->frames[pfn];
}

static void *pfn_to_virt(const struct build *b, pfn_t pfn)
{
    return mfn_to_virt(pfn_to_mfn(b, pfn));
}

/* Copy into pseudo-physical memory. */
static void put_bytes(const struct build *b, uint64_t paddr, const uint8_t *src, uint64_t bytes)
{
    while (bytes) {
        uint64_t offset = paddr & ~PAGE_MASK, n = MIN(bytes, PAGE_SIZE - offset);
        memcpy((uint8_t *)pfn_to_virt(b, paddr >> PAGE_SHIFT) + offset, src, n);
        paddr += n;
        src += n;
        bytes -= n;
    }
}

static const uint8_t *module_data(const struct boot_module *m)
{
    return (const uint8_t *)mfn_to_virt(m->start >> PAGE_SHIFT) + (m->start & ~PAGE_MASK);
}

/* ---- page tables ---- */

/* Map pfn at va, with pages of [*pool, pool_end) as the tables that are missing on the way. */
static void map(const struct build *b, pfn_t *pool, pfn_t pool_end, vaddr_t va, pfn_t pfn,
                uint64_t flags)
{
    uint64_t *table = pfn_to_virt(b, b->tables);
    for (unsigned level = 4; level > 1; level--) {
        uint64_t *slot = &table[PT_INDEX(va, level)];
        if (!*slot) {
            BUG_ON(*pool == pool_end);
            *slot = pfn_to_mfn(b, (*pool)++) << PAGE_SHIFT | PAGE_RW;
        }
        table = mfn_to_virt(PTE_MFN(*slot));
    }
    table[PT_INDEX(va, 1)] = pfn_to_mfn(b, pfn) << PAGE_SHIFT | flags;
}

static void make_tables(const struct build *b)
{
    pfn_t pool = b->tables + 1;
    for (pfn_t pfn = 0; pfn < b->v_end; pfn++) {
        bool is_table = pfn >= b->tables && pfn < b->stack;
        map(b, &pool, b->stack, b->elf.virt_base + pfn * PAGE_SIZE, pfn,
            is_table ? PAGE_RO : PAGE_RW);
    }
    pool = b->p2m_tables;
    for (pfn_t pfn = b->p2m; pfn < b->p2m_tables; pfn++) {
        map(b, &pool, b->used, b->elf.init_p2m + (pfn - b->p2m) * PAGE_SIZE, pfn, PAGE_RW);
    }
}

/* Check our own work like a guest's, and load it. */
static void adopt_tables(const struct build *b, struct vcpu *v)
{
    mfn_t l4 = pfn_to_mfn(b, b->tables);
    int rc;
    SPIN_GUARD(&b->d->mmu_lock);
    do {
        rc = page_type_pin(l4, b->d, TYPE_L4);
    } while (rc == -ERESTART);
    BUG_ON(rc || page_type_get(l4, b->d, TYPE_L4, &v->pv.l4));
}

/* ---- contents ---- */

static void load_image(const struct build *b)
{
    for (unsigned i = 0; i < b->elf.segment_count; i++) {
        const struct elf_segment *s = &b->elf.segment[i];
        put_bytes(b, s->paddr, s->data, s->file_bytes); /* the rest is clear already */
    }
    if (b->elf.hypercall_page) {
        hypercall_page_fill(
            pfn_to_virt(b, (b->elf.hypercall_page - b->elf.virt_base) >> PAGE_SHIFT));
    }
    put_bytes(b, b->v_end * PAGE_SIZE, module_data(b->initrd), b->initrd->bytes);
}

static void write_p2m(const struct build *b)
{
    for (pfn_t pfn = 0; pfn < (b->p2m_tables - b->p2m) * PT_ENTRIES; pfn++) {
        uint64_t *page = pfn_to_virt(b, b->p2m + pfn / PT_ENTRIES);
        page[pfn % PT_ENTRIES] = pfn < b->page_count ? b->frames[pfn] : INVALID_MFN;
    }
}

static void write_start_info(const struct build *b)
{
    start_info_t *si = pfn_to_virt(b, b->start_info);
    *si = (start_info_t){
        .magic = "xen-3.0-x86_64",
        .nr_pages = b->page_count,
        .shared_info = frame_to_mfn(b->d->shared_frame) << PAGE_SHIFT,
        .flags = SIF_PRIVILEGED | SIF_INITDOMAIN | SIF_MOD_START_PFN,
        .pt_base = b->elf.virt_base + b->tables * PAGE_SIZE,
        .nr_pt_frames = b->stack - b->tables,
        .mfn_list = b->elf.init_p2m,
        .mod_start = b->initrd->bytes ? b->v_end : 0,
        .mod_len = b->initrd->bytes,
        .first_p2m_pfn = b->p2m,
        .nr_p2m_frames = b->used - b->p2m,
    };
    char *line = (char *)si->cmd_line;
    size_t bytes = sizeof(si->cmd_line);
    size_t n = (size_t)format(line, bytes, "%s", b->kernel->cmdline);
    maddr_t rsdp = arch_facts.acpi_rsdp;
    if (rsdp && (rsdp < 0xe0000 || rsdp >= 0x100000) && n + 32 < bytes) {
        /* Linux looks in the ROM area only. */
        (void)format(line + n, bytes - n, " acpi_rsdp=0x%lx", rsdp);
    }
}

static void start_vcpu(const struct build *b, struct vcpu *v)
{
    v->regs = (struct cpu_user_regs){
        .rip = b->elf.entry,
        .rsp = b->elf.virt_base + (b->stack + 1) * PAGE_SIZE,
        .rsi = b->elf.virt_base + b->start_info * PAGE_SIZE,
        .rflags = X86_EFLAGS_IF | X86_EFLAGS_FIXED,
        .cs = SEL_GUEST_CS64,
        .ss = SEL_GUEST_DS,
    };
    v->pv.kernel_ss = SEL_GUEST_DS;
    v->pv.kernel_sp = v->regs.rsp;
    v->pv.kernel_mode = true;
    for (unsigned i = 0; i < b->d->max_vcpus && i < XEN_LEGACY_MAX_VCPUS; i++) {
        b->d->shared_info->vcpu_info[i].evtchn_upcall_mask = 1;
    }
    v->initialised = true;
    sched_resume(v, PAUSE_DOWN);
    /* The pause a new domain has counts as the tools', who see it in the domain's state. */
    BUG_ON(domctl_unpausedomain(b->d));
}

static void check_kernel(struct build *b)
{
    const uint8_t *image = module_data(b->kernel);
    if (b->kernel->bytes > 0x206 && memcmp(image + 0x202, "HdrS", 4) == 0) {
        panic("dom0: the kernel is a compressed bzImage; unpack it first:\n"
              "  vane unpack-kernel /boot/vmlinuz vmlinux\nand load vmlinux instead");
    }
    const char *wrong = elf_parse(image, b->kernel->bytes, &b->elf);
    if (wrong) {
        panic("dom0: bad kernel image: %s", wrong);
    }
}

void dom0_build(const struct boot_info *info)
{
    if (info->module_count == 0) {
        panic("no control-domain kernel: load one as the first module");
    }
    struct build b = {.kernel = &info->module[0], .initrd = &info->module[1]};
    check_kernel(&b);

    unsigned vcpus =
        cmdline.dom0_max_vcpus ? (unsigned)cmdline.dom0_max_vcpus : arch_facts.cpus_online;
    struct domain_limits limits = {.max_vcpus = MIN(vcpus, MAX_VCPUS),
                                   .max_evtchn_port = MAX_EVTCHNS - 1,
                                   .max_grant_frames = MAX_GRANT_FRAMES,
                                   .max_maptrack_frames = MAX_MAPTRACK_FRAMES};
    int rc = domain_create(0, &limits, true, &b.d);
    if (rc) {
        panic("dom0: cannot be created (%d)", rc);
    }
    b.page_count = dom0_pages();
    b.d->max_pages = b.page_count;
    lay_out(&b);

    /* A plain array of all frame numbers, for the time of building. */
    b.frames = hyp_alloc(b.page_count * sizeof(*b.frames));
    if (!b.frames) {
        panic("dom0: no memory for its frame list");
    }
    populate(&b);
    load_image(&b);
    make_tables(&b);
    write_p2m(&b);
    write_start_info(&b);
    printk("dom0: %lu MiB, %u vcpus, kernel to %lx, entry %lx\n", b.page_count / PAGES_PER_MIB,
           b.d->max_vcpus, b.elf.high_paddr, b.elf.entry);
    adopt_tables(&b, b.d->vcpu[0]);
    start_vcpu(&b, b.d->vcpu[0]);
    hyp_free(b.frames);
    for (unsigned i = 0; i < info->module_count; i++) {
        const struct boot_module *m = &info->module[i];
        frame_alloc_add(DIV_ROUND_UP(m->start, PAGE_SIZE), (m->start + m->bytes) >> PAGE_SHIFT);
    }
    if (!cmdline.dom0_mem) {
        b.d->max_pages = ~0UL >> PAGE_SHIFT; /* nobody set a limit: it may balloon up */
    }
}
