// SPDX-License-Identifier: MIT
/* The hypercalls of steps: arguments put into the acting vCPU's window, results taken from it. */
#include <string.h>

#include "base/assert.h"
#include "core/grant_table.h"
#include "model.h"

#define HANDLER_RIP 0x4000

mfn_t ref_mfn(int64_t ref)
{
    if (ref >= REF_GRANTS && ref < REF_END) {
        return world[ref - REF_GRANTS].grants;
    }
    if (ref >= REF_SHARED && ref < REF_GRANTS) {
        return world[ref - REF_SHARED].shared;
    }
    switch (ref) {
    case REF_IO:
        return 5;
    case REF_DEVICE:
        return HOST_FRAMES + 5;
    case REF_DENIED:
        return 0xfee00;
    case REF_FAR:
        return 1UL << 39;
    case REF_HUGE:
        return (1UL << 52) - 1;
    default:
        break;
    }
    int64_t dom = ref / 1000, page = ref % 1000;
    return ref >= 0 && dom < MODEL_DOMS && page < MODEL_PAGES ? world[dom].page[page] : 0;
}

static uint64_t pte_of(int64_t ref, int64_t flags)
{
    return (ref_mfn(ref) << PAGE_SHIFT & X86_PTE_ADDR) | (uint64_t)flags;
}

/* A domain as steps name it. */
static domid_t dom_id(int64_t code)
{
    switch (code) {
    case -1:
        return DOMID_SELF;
    case -2:
        return DOMID_IO;
    case -3:
        return DOMID_XEN;
    default:
        return code >= 0 && code < MODEL_DOMS && world[code].d ? world[code].id : 99;
    }
}

void *actor_put(struct actor *a, const void *src, size_t bytes, vaddr_t *va)
{
    size_t at = ROUND_UP(a->used, 64);
    BUG_ON(at + bytes > ACTOR_WINDOW);
    a->used = at + bytes;
    *va = a->window + at;
    void *p = host_guest_ptr(*va);
    memset(p, 0, bytes);
    if (src) {
        memcpy(p, src, bytes);
    }
    return p;
}

static vaddr_t put(struct actor *a, const void *src, size_t bytes)
{
    vaddr_t va;
    (void)actor_put(a, src, bytes, &va);
    return va;
}

static vaddr_t put_out(struct actor *a, struct call *c, const void *src, size_t bytes)
{
    vaddr_t va;
    c->out = actor_put(a, src, bytes, &va);
    return va;
}

static vaddr_t bitmap(struct actor *a)
{
    uint64_t all = 3;
    return put(a, &all, sizeof(all));
}

static bool build_mmu(const struct step *s, struct actor *a, struct call *c)
{
    struct mmu_update req[STEP_ARGS / 5] = {0};
    unsigned n = s->count > 2 ? (s->count - 2U) / 5 : 0;
    for (unsigned i = 0; i < n; i++) {
        const int64_t *arg = &s->arg[2 + i * 5];
        req[i].ptr = ref_mfn(arg[1]) << PAGE_SHIFT | (uint64_t)(arg[2] & 511) << 3;
        req[i].ptr |= (uint64_t)arg[0] & 7;
        req[i].val =
            (arg[0] & 3) == MMU_MACHPHYS_UPDATE ? (uint64_t)arg[4] : pte_of(arg[3], arg[4]);
    }
    *c = (struct call){.nr = __HYPERVISOR_mmu_update};
    c->arg[0] = put(a, req, n * sizeof(req[0]));
    c->arg[1] = n;
    c->arg[2] = n == 1 ? 0 : put(a, NULL, 8); /* 0: the short way, if it is one's own */
    uint64_t table = s->arg[1] == -1 ? 0 : dom_id(s->arg[1]) + 1UL;
    c->arg[3] = dom_id(s->arg[0]) | table << 16;
    return n > 0;
}

static bool build_uva(const struct step *s, struct actor *a, struct call *c)
{
    *c = (struct call){.nr = __HYPERVISOR_update_va_mapping};
    c->arg[0] = (uint64_t)s->arg[0];
    c->arg[1] = pte_of(s->arg[1], s->arg[2]);
    c->arg[2] = (uint64_t)s->arg[3] & 7;
    if (s->arg[3] & 8) {
        c->arg[2] = (c->arg[2] & 3) | bitmap(a);
    }
    if (s->arg[4] != -1) {
        c->nr = __HYPERVISOR_update_va_mapping_otherdomain;
        c->arg[3] = dom_id(s->arg[4]);
    }
    return true;
}

static bool build_ext(const struct step *s, struct actor *a, struct call *c)
{
    struct mmuext_op op[STEP_ARGS / 3];
    unsigned n = s->count > 1 ? (s->count - 1U) / 3 : 0;
    memset(op, 0, sizeof(op));
    for (unsigned i = 0; i < n; i++) {
        const int64_t *arg = &s->arg[1 + i * 3];
        op[i].cmd = (unsigned)arg[0];
        switch (op[i].cmd) {
        case MMUEXT_INVLPG_LOCAL:
        case MMUEXT_INVLPG_ALL:
        case MMUEXT_INVLPG_MULTI:
        case MMUEXT_TLB_FLUSH_MULTI:
            op[i].arg1.linear_addr = (uint64_t)arg[1];
            op[i].arg2.vcpumask.p = (const void *)bitmap(a);
            break;
        case MMUEXT_SET_LDT:
            op[i].arg1.linear_addr = (uint64_t)arg[1];
            op[i].arg2.nr_ents = (unsigned)arg[2];
            break;
        default:
            op[i].arg1.mfn = ref_mfn(arg[1]);
            op[i].arg2.src_mfn = ref_mfn(arg[2]);
            break;
        }
    }
    *c = (struct call){.nr = __HYPERVISOR_mmuext_op};
    c->arg[0] = put(a, op, sizeof(op));
    c->arg[1] = n;
    c->arg[2] = n == 1 ? 0 : put(a, NULL, 8); /* 0: the short way, if it is one's own */
    c->arg[3] = dom_id(s->arg[0]);
    return n > 0;
}

static unsigned put_refs(const struct step *s, unsigned first, uint64_t *list)
{
    unsigned n = 0;
    for (unsigned i = first; i < s->count; i++) {
        list[n++] = ref_mfn(s->arg[i]);
    }
    return n;
}

static bool build_gdt(const struct step *s, struct actor *a, struct call *c)
{
    uint64_t list[STEP_ARGS];
    memset(list, 0, sizeof(list));
    (void)put_refs(s, 1, list);
    *c = (struct call){.nr = __HYPERVISOR_set_gdt};
    c->arg[0] = put(a, list, sizeof(list));
    c->arg[1] = (uint64_t)s->arg[0];
    return true;
}

static bool build_populate(const struct step *s, struct actor *a, struct call *c)
{
    uint64_t pfns[MODEL_PAGES];
    uint64_t n = MIN((uint64_t)s->arg[2], (uint64_t)MODEL_PAGES);
    for (unsigned i = 0; i < n; i++) {
        pfns[i] = (uint64_t)s->arg[1] + i;
    }
    struct xen_memory_reservation r = {
        .nr_extents = n, .extent_order = (unsigned)s->arg[3], .domid = dom_id(s->arg[0])};
    r.extent_start.p = (xen_pfn_t *)put_out(a, c, pfns, n * 8);
    c->nr = __HYPERVISOR_memory_op;
    c->arg[0] = XENMEM_populate_physmap;
    c->arg[1] = put(a, &r, sizeof(r));
    return n > 0;
}

static bool build_decrease(const struct step *s, struct actor *a, struct call *c)
{
    uint64_t list[STEP_ARGS];
    struct xen_memory_reservation r = {.domid = dom_id(s->arg[0])};
    r.nr_extents = put_refs(s, 1, list);
    r.extent_start.p = (xen_pfn_t *)put(a, list, r.nr_extents * 8);
    c->nr = __HYPERVISOR_memory_op;
    c->arg[0] = XENMEM_decrease_reservation;
    c->arg[1] = put(a, &r, sizeof(r));
    return r.nr_extents > 0;
}

static bool build_exchange(const struct step *s, struct actor *a, struct call *c)
{
    uint64_t in[STEP_ARGS], out[STEP_ARGS];
    unsigned order = (unsigned)s->arg[1] & 3, n = put_refs(s, 3, in);
    for (unsigned i = 0; i < n; i++) {
        out[i] = (uint64_t)s->arg[2] + i;
    }
    struct xen_memory_exchange x = {
        .in = {.nr_extents = n, .domid = DOMID_SELF},
        .out = {.nr_extents = n >> order, .extent_order = order, .domid = DOMID_SELF}};
    x.in.extent_start.p = (xen_pfn_t *)put(a, in, sizeof(in));
    x.out.extent_start.p = (xen_pfn_t *)put_out(a, c, out, sizeof(out));
    c->nr = __HYPERVISOR_memory_op;
    c->arg[0] = XENMEM_exchange;
    c->arg[1] = put(a, &x, sizeof(x));
    return n > 0;
}

static bool build_increase(const struct step *s, struct actor *a, struct call *c)
{
    struct xen_memory_reservation r = {.nr_extents = MIN((uint64_t)s->arg[1], 4UL),
                                       .mem_flags = XENMEMF_address_bits((unsigned)s->arg[2] & 63),
                                       .domid = dom_id(s->arg[0])};
    r.extent_start.p = (xen_pfn_t *)put(a, NULL, 4 * 8);
    c->nr = __HYPERVISOR_memory_op;
    c->arg[0] = XENMEM_increase_reservation;
    c->arg[1] = put(a, &r, sizeof(r));
    return true;
}

static bool build_setup(const struct step *s, struct actor *a, struct call *c)
{
    struct gnttab_setup_table op = {.dom = DOMID_SELF, .nr_frames = (uint32_t)s->arg[0] & 3};
    op.frame_list.p = (xen_pfn_t *)put(a, NULL, 4 * 8);
    c->nr = __HYPERVISOR_grant_table_op;
    c->arg[0] = GNTTABOP_setup_table;
    c->arg[1] = put(a, &op, sizeof(op));
    c->arg[2] = 1;
    return true;
}

static bool build_resource(const struct step *s, struct actor *a, struct call *c)
{
    struct xen_mem_acquire_resource r = {.domid = dom_id(s->dom),
                                         .type = XENMEM_resource_grant_table,
                                         .frame = (uint64_t)s->arg[0] & 3,
                                         .nr_frames = (uint32_t)s->arg[1] & 3};
    r.frame_list.p = (xen_pfn_t *)(r.nr_frames ? put(a, NULL, 4 * 8) : 0);
    c->nr = __HYPERVISOR_memory_op;
    c->arg[0] = XENMEM_acquire_resource;
    c->arg[1] = put(a, &r, sizeof(r));
    return true;
}

/* The address a grant operation names: linear, or of an entry of a table. */
static uint64_t host_addr(int64_t where, int64_t index)
{
    return index < 0 ? (uint64_t)where
                     : ref_mfn(where) << PAGE_SHIFT | (uint64_t)(index & 511) << 3;
}

static bool build_gmap(const struct step *s, struct actor *a, struct call *c)
{
    struct gnttab_map_grant_ref op = {.host_addr = host_addr(s->arg[3], s->arg[4]),
                                      .flags = (uint32_t)s->arg[2],
                                      .ref = (grant_ref_t)s->arg[0],
                                      .dom = dom_id(s->arg[1])};
    op.flags |= s->arg[4] >= 0 ? GNTMAP_contains_pte : 0;
    c->nr = __HYPERVISOR_grant_table_op;
    c->arg[0] = GNTTABOP_map_grant_ref;
    c->arg[1] = put_out(a, c, &op, sizeof(op));
    c->arg[2] = 1;
    return true;
}

static bool build_gunmap(const struct step *s, struct actor *a, struct call *c)
{
    struct gnttab_unmap_grant_ref op = {
        .host_addr = s->arg[1] == -1 ? 0 : host_addr(s->arg[1], s->arg[2]),
        .dev_bus_addr = s->arg[3] < 0 ? 0 : ref_mfn(s->arg[3]) << PAGE_SHIFT,
        .handle = world[s->dom].handle[(uint64_t)s->arg[0] % MODEL_HANDLES]};
    c->nr = __HYPERVISOR_grant_table_op;
    c->arg[0] = GNTTABOP_unmap_grant_ref;
    c->arg[1] = put_out(a, c, &op, sizeof(op));
    c->arg[2] = 1;
    return true;
}

static bool build_gcopy(const struct step *s, struct actor *a, struct call *c)
{
    struct gnttab_copy op = {.len = 8,
                             .flags = s->arg[3] ? GNTCOPY_source_gref : GNTCOPY_dest_gref};
    struct gnttab_copy_ptr *granted = s->arg[3] ? &op.source : &op.dest;
    struct gnttab_copy_ptr *own = s->arg[3] ? &op.dest : &op.source;
    granted->u.ref = (grant_ref_t)s->arg[0];
    granted->domid = dom_id(s->arg[1]);
    own->u.gmfn = ref_mfn(s->arg[2]);
    own->domid = DOMID_SELF;
    c->nr = __HYPERVISOR_grant_table_op;
    c->arg[0] = GNTTABOP_copy;
    c->arg[1] = put_out(a, c, &op, sizeof(op));
    c->arg[2] = 1;
    return true;
}

static vaddr_t put_context(const struct step *s, struct actor *a)
{
    vaddr_t va;
    struct vcpu_guest_context *x = actor_put(a, NULL, sizeof(*x), &va);
    x->flags = VGCF_in_kernel;
    x->user_regs.rip = HANDLER_RIP;
    x->user_regs.rflags = X86_EFLAGS_IF | X86_EFLAGS_FIXED;
    x->ctrlreg[3] = xen_pfn_to_cr3(ref_mfn(s->arg[1]));
    x->ctrlreg[1] = s->arg[2] < 0 ? 0 : xen_pfn_to_cr3(ref_mfn(s->arg[2])) | 1;
    if (s->arg[3] >= 0) {
        x->gdt_frames[0] = ref_mfn(s->arg[3]);
        x->gdt_ents = 512;
    }
    return va;
}

static bool build_init(const struct step *s, struct actor *a, struct call *c)
{
    c->nr = __HYPERVISOR_vcpu_op;
    c->arg[0] = VCPUOP_initialise;
    c->arg[1] = (uint64_t)s->arg[0];
    c->arg[2] = put_context(s, a);
    return true;
}

static bool build_domctl(const struct step *s, struct actor *a, struct call *c, uint32_t cmd)
{
    struct xen_domctl op = {
        .cmd = cmd, .interface_version = XEN_DOMCTL_INTERFACE_VERSION, .domain = dom_id(s->dom)};
    if (cmd == XEN_DOMCTL_max_mem) {
        op.u.max_mem.max_memkb = (uint64_t)s->arg[0] << (PAGE_SHIFT - 10);
    } else if (cmd == XEN_DOMCTL_hypercall_init) {
        op.u.hypercall_init.gmfn = ref_mfn(s->arg[0]);
    } else if (cmd == XEN_DOMCTL_setvcpucontext) {
        op.u.vcpucontext.vcpu = (uint32_t)s->arg[0];
        op.u.vcpucontext.ctxt.p = (vcpu_guest_context_t *)put_context(s, a);
    }
    c->nr = __HYPERVISOR_domctl;
    c->arg[0] = put(a, &op, sizeof(op));
    return world[s->dom].d && (s->dom != 0 || cmd == XEN_DOMCTL_max_mem);
}

static bool build_info(const struct step *s, struct actor *a, struct call *c)
{
    struct vcpu_register_vcpu_info r = {.mfn = ref_mfn(s->arg[0]), .offset = (uint32_t)s->arg[1]};
    c->nr = __HYPERVISOR_vcpu_op;
    c->arg[0] = VCPUOP_register_vcpu_info;
    c->arg[1] = s->vcpu;
    c->arg[2] = put(a, &r, sizeof(r));
    return true;
}

bool call_build(const struct step *s, struct actor *a, struct call *c)
{
    *c = (struct call){0};
    switch (s->op) {
    case STEP_mmu:
        return build_mmu(s, a, c);
    case STEP_uva:
        return build_uva(s, a, c);
    case STEP_ext:
        return build_ext(s, a, c);
    case STEP_gdt:
        return build_gdt(s, a, c);
    case STEP_desc:
        c->nr = __HYPERVISOR_update_descriptor;
        c->arg[0] = ref_mfn(s->arg[0]) << PAGE_SHIFT | (uint64_t)(s->arg[1] & 511) << 3;
        c->arg[1] = (uint64_t)s->arg[2];
        return true;
    case STEP_populate:
        return build_populate(s, a, c);
    case STEP_decrease:
        return build_decrease(s, a, c);
    case STEP_exchange:
        return build_exchange(s, a, c);
    case STEP_increase:
        return build_increase(s, a, c);
    case STEP_setup:
        return build_setup(s, a, c);
    case STEP_resource:
        return build_resource(s, a, c);
    case STEP_stubs:
        return build_domctl(s, a, c, XEN_DOMCTL_hypercall_init);
    case STEP_gmap:
        return build_gmap(s, a, c);
    case STEP_gunmap:
        return build_gunmap(s, a, c);
    case STEP_gcopy:
        return build_gcopy(s, a, c);
    case STEP_init:
        return build_init(s, a, c);
    case STEP_info:
        return build_info(s, a, c);
    case STEP_context:
        return build_domctl(s, a, c, XEN_DOMCTL_setvcpucontext);
    case STEP_destroy:
        return build_domctl(s, a, c, XEN_DOMCTL_destroydomain);
    case STEP_maxmem:
        return build_domctl(s, a, c, XEN_DOMCTL_max_mem);
    default:
        return false;
    }
}

/* ---- results ---- */

/* Frames the domain named by `code` has got: names from `slot` on. */
static void name_frames(unsigned dom, int64_t slot, const uint64_t *list, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = (uint64_t)slot + i;
        if (at < MODEL_PAGES && list[i]) {
            world[dom].page[at] = list[i];
        }
    }
}

/* ---- what an update leaves ---- */

/* An update of entry `index` of the frame to `value` has succeeded: that is what is there now, with
 * what the hypervisor adds to entries of tables. `free_bits` may be anything. */
void check_entry(mfn_t mfn, uint64_t index, uint64_t value, uint64_t free_bits)
{
    const struct frame *f = mfn_to_frame(mfn);
    unsigned level = (unsigned)((f->type & TYPE_MASK) >> TYPE_SHIFT);
    bool table = level >= 1 && level <= 4 && (f->type & TYPE_VALIDATED);
    if (table && (value & X86_PTE_P)) {
        value |= X86_PTE_US;
        value = level == 1 ? value & ~X86_PTE_G : value | X86_PTE_A;
    }
    uint64_t is = ((const uint64_t *)mfn_to_virt(mfn))[index & 511];
    if ((is ^ value) & ~free_bits) {
        model_fail("effect", "entry %lu of frame %lx is %lx, not %lx", (unsigned long)index,
                   (unsigned long)mfn, (unsigned long)is, (unsigned long)value);
    }
}

/* What was asked for is in the call, not in its step: when a call is left and continued later, the
 * step's names may mean other frames than they did. */
static void check_mmu(const struct call *c)
{
    const struct mmu_update *req = host_guest_ptr(c->arg[0]);
    mfn_t mfn = req->ptr >> PAGE_SHIFT;
    uint64_t kind = req->ptr & 3;
    if (kind == MMU_MACHPHYS_UPDATE) {
        if (m2p_get(mfn) != req->val) {
            model_fail("effect", "M2P of %lx", (unsigned long)mfn);
        }
        return;
    }
    bool keeps = kind == MMU_PT_UPDATE_PRESERVE_AD;
    check_entry(mfn, req->ptr >> 3 & 511, req->val, keeps ? X86_PTE_A | X86_PTE_D : 0);
}

static void check_uva(const struct step *s, const struct call *c)
{
    const struct frame *l4 = world[s->dom].d->vcpu[s->vcpu]->pv.l4;
    uint64_t va = c->arg[0];
    mfn_t table = frame_to_mfn(l4);
    for (unsigned level = 4; level > 1; level--) {
        table = PTE_MFN(((const uint64_t *)mfn_to_virt(table))[PT_INDEX(va, level)]);
    }
    check_entry(table, PT_INDEX(va, 1), c->arg[1], 0);
}

/* The mapper has just begun to use a reference: if nobody else does, the entry must say it may,
 * now. (While it is in use the granter may write there what it likes.) */
static void check_consent(const struct step *s, bool readonly, unsigned own_pins)
{
    unsigned granter = (unsigned)s->arg[1], ref = (unsigned)s->arg[0];
    const struct domain *d = s->arg[1] == -1 ? world[s->dom].d : world[granter].d;
    if (s->arg[1] < 0 || !d || ref >= GRANTS_PER_FRAME) {
        return;
    }
    const struct grant_active *active = &d->grant->active[0][ref];
    const grant_entry_v1_t *e = (grant_entry_v1_t *)frame_to_virt(d->grant->frame[0]) + ref;
    unsigned pins = active->writers + (readonly ? active->readers : 0u);
    bool allowed = (e->flags & GTF_type_mask) == GTF_permit_access &&
                   e->domid == world[s->dom].id && (readonly || !(e->flags & GTF_readonly));
    if (pins == own_pins && !allowed) {
        model_fail("consent", "d%u uses reference %u of d%u without being allowed to",
                   world[s->dom].id, ref, d->id);
    }
}

void call_done(const struct step *s, const struct call *c, long rc, bool alone)
{
    switch (s->op) {
    case STEP_populate:
        if (s->arg[0] >= -1 && s->arg[0] < MODEL_DOMS && rc > 0) {
            unsigned dom = s->arg[0] == -1 ? s->dom : (unsigned)s->arg[0];
            name_frames(dom, s->arg[1], c->out, (uint64_t)rc);
        }
        break;
    case STEP_exchange:
        if (rc == 0) {
            name_frames(s->dom, s->arg[2], c->out, (s->count - 3U) >> (s->arg[1] & 3));
        }
        break;
    case STEP_gmap: {
        const struct gnttab_map_grant_ref *op = c->out;
        if (rc == 0 && op->status == GNTST_okay) {
            world[s->dom].handle[(uint64_t)s->arg[5] % MODEL_HANDLES] = op->handle;
            if (alone) {
                check_consent(s, op->flags & GNTMAP_readonly, 1);
            }
        }
        break;
    }
    case STEP_mmu:
        if (rc == 0 && alone && s->count == 7) {
            check_mmu(c);
        }
        break;
    case STEP_uva:
        if (rc == 0 && alone) {
            check_uva(s, c);
        }
        break;
    case STEP_gcopy: {
        const struct gnttab_copy *op = c->out;
        /* Reference 0 is where a copy into a granted grant table lands. */
        if (rc == 0 && op->status == GNTST_okay && alone && s->arg[0]) {
            check_consent(s, op->flags & GNTCOPY_source_gref, 0);
        }
        break;
    }
    case STEP_destroy: {
        /* Not by the result: when that could not be written, the domain is gone nevertheless. */
        struct domain *d = domain_get(world[s->dom].id);
        if (d) {
            domain_put(d);
        } else {
            world[s->dom].alive = world[s->dom].dying = false;
            world[s->dom].d = NULL;
        }
        break;
    }
    case STEP_init:
    case STEP_context:
        if (rc == 0) {
            struct actor *a = &world[s->dom].actor[s->arg[0] & (MODEL_VCPUS - 1)];
            a->set_up = a->busy = false;
        }
        break;
    default:
        break;
    }
}
