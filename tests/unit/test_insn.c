// SPDX-License-Identifier: MIT
/*
 * pv/insn.c. Stores are compared with the processor this test runs on: each encoding is executed on
 * a word of memory and emulated on a copy, and memory, registers and flags must agree.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pv/insn.h"
#include "suite.h"

#define END_OF_WINDOW (HOST_GUEST_BASE + HOST_GUEST_BYTES)

#define CF 1u
#define LOGIC_FLAGS 0x8c5u /* CF PF ZF SF OF */
#define ALL_FLAGS 0x8d5u   /* and AF */

/* Encodings that store to (%rdi); the source is rcx (cl, ch), the accumulator rax. */
static const struct encoding {
    const char *name;
    uint8_t bytes[12], count;
    uint32_t flags; /* the defined ones */
} encodings[] = {
    {"mov %cl,(%rdi)", {0x88, 0x0f}, 2, ALL_FLAGS},
    {"mov %ch,(%rdi)", {0x88, 0x2f}, 2, ALL_FLAGS},
    {"mov %cx,(%rdi)", {0x66, 0x89, 0x0f}, 3, ALL_FLAGS},
    {"mov %ecx,(%rdi)", {0x89, 0x0f}, 2, ALL_FLAGS},
    {"mov %rcx,(%rdi)", {0x48, 0x89, 0x0f}, 3, ALL_FLAGS},
    {"movb $0x9a,(%rdi)", {0xc6, 0x07, 0x9a}, 3, ALL_FLAGS},
    {"movw $0x8765,(%rdi)", {0x66, 0xc7, 0x07, 0x65, 0x87}, 5, ALL_FLAGS},
    {"movl $0x87654321,(%rdi)", {0xc7, 0x07, 0x21, 0x43, 0x65, 0x87}, 6, ALL_FLAGS},
    {"movq $0x87654321,(%rdi)", {0x48, 0xc7, 0x07, 0x21, 0x43, 0x65, 0x87}, 7, ALL_FLAGS},
    {"xchg %cl,(%rdi)", {0x86, 0x0f}, 2, ALL_FLAGS},
    {"xchg %ch,(%rdi)", {0x86, 0x2f}, 2, ALL_FLAGS},
    {"xchg %cx,(%rdi)", {0x66, 0x87, 0x0f}, 3, ALL_FLAGS},
    {"xchg %ecx,(%rdi)", {0x87, 0x0f}, 2, ALL_FLAGS},
    {"xchg %rcx,(%rdi)", {0x48, 0x87, 0x0f}, 3, ALL_FLAGS},
    {"lock cmpxchg %cl,(%rdi)", {0xf0, 0x0f, 0xb0, 0x0f}, 4, ALL_FLAGS},
    {"lock cmpxchg %cx,(%rdi)", {0xf0, 0x66, 0x0f, 0xb1, 0x0f}, 5, ALL_FLAGS},
    {"cmpxchg %rcx,(%rdi)", {0x48, 0x0f, 0xb1, 0x0f}, 4, ALL_FLAGS},
    {"lock cmpxchg %rcx,(%rdi)", {0xf0, 0x48, 0x0f, 0xb1, 0x0f}, 5, ALL_FLAGS},
    {"patched-out lock", {0x3e, 0x48, 0x0f, 0xb1, 0x0f}, 5, ALL_FLAGS},
    {"and %cl,(%rdi)", {0x20, 0x0f}, 2, LOGIC_FLAGS},
    {"lock andb $0xfd,(%rdi)", {0xf0, 0x80, 0x27, 0xfd}, 4, LOGIC_FLAGS},
    {"lock andl $-3,(%rdi)", {0xf0, 0x83, 0x27, 0xfd}, 4, LOGIC_FLAGS},
    {"lock andq $0x80000001,(%rdi)", {0xf0, 0x48, 0x81, 0x27, 1, 0, 0, 0x80}, 8, LOGIC_FLAGS},
    {"and %rcx,(%rdi)", {0x48, 0x21, 0x0f}, 3, LOGIC_FLAGS},
    {"or %cl,(%rdi)", {0x08, 0x0f}, 2, LOGIC_FLAGS},
    {"orw $0x40,(%rdi)", {0x66, 0x83, 0x0f, 0x40}, 4, LOGIC_FLAGS},
    {"or %rcx,(%rdi)", {0x48, 0x09, 0x0f}, 3, LOGIC_FLAGS},
    {"xor %ecx,(%rdi)", {0x31, 0x0f}, 2, LOGIC_FLAGS},
    {"xorq $-1,(%rdi)", {0x48, 0x83, 0x37, 0xff}, 4, LOGIC_FLAGS},
    {"lock btsq $5,(%rdi)", {0xf0, 0x48, 0x0f, 0xba, 0x2f, 5}, 6, CF},
    {"lock btrq $69,(%rdi)", {0xf0, 0x48, 0x0f, 0xba, 0x37, 69}, 6, CF},
    {"btcl $37,(%rdi)", {0x0f, 0xba, 0x3f, 37}, 4, CF},
    {"lock bts %rcx,(%rdi)", {0xf0, 0x48, 0x0f, 0xab, 0x0f}, 5, CF},
    {"lock btr %rcx,(%rdi)", {0xf0, 0x48, 0x0f, 0xb3, 0x0f}, 5, CF},
    {"btc %ecx,(%rdi)", {0x0f, 0xbb, 0x0f}, 3, CF},
    {"bts %cx,(%rdi)", {0x66, 0x0f, 0xab, 0x0f}, 4, CF},
};

static bool is_bit_by_register(const struct encoding *e)
{
    uint8_t op = e->bytes[e->count - 2];
    return e->flags == CF && (op == 0xab || op == 0xb3 || op == 0xbb);
}

static uint64_t random64(void)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 5; i++) {
        value = value << 15 ^ (uint64_t)random();
    }
    return value;
}

struct state {
    uint64_t rax, rcx, flags;
    uint64_t memory[16]; /* rdi points at [8]: bit numbers reach to both sides */
};

static uint8_t *code_page;

static void run_on_processor(const struct encoding *e, struct state *s)
{
    static const uint8_t tail[] = {0x9c, 0x5a, 0xc3}; /* pushfq; pop %rdx; ret */
    memcpy(code_page, e->bytes, e->count);
    memcpy(code_page + e->count, tail, sizeof(tail));
    uint64_t rdx;
    /* The red zone is the compiler's: step over it before pushing. */
    __asm__ volatile("sub $256, %%rsp; push %[flags]; popfq; call *%[code]; add $256, %%rsp"
                     : "+a"(s->rax), "+c"(s->rcx), "=&d"(rdx)
                     : "D"(&s->memory[8]), [code] "r"(code_page), [flags] "r"(s->flags)
                     : "cc", "memory");
    s->flags = rdx;
}

static void run_emulated(const struct encoding *e, struct state *s)
{
    struct insn_store store;
    vaddr_t rip = host_guest_put(e->bytes, e->count);
    struct cpu_user_regs regs = {.rip = rip,
                                 .rax = s->rax,
                                 .rcx = s->rcx,
                                 .rdi = (uint64_t)&s->memory[8],
                                 .rflags = s->flags};
    host_fetch_reset();
    CU_ASSERT_EQUAL_FATAL(insn_decode_store(&regs, &store), 0);
    CU_ASSERT_FATAL(store.address >= (uint64_t)s->memory &&
                    store.address + store.insn.operand <= (uint64_t)(s->memory + 16));
    uint64_t old = 0, value;
    memcpy(&old, (void *)store.address, store.insn.operand);
    if (insn_store_value(&store, &regs, old, &value)) {
        memcpy((void *)store.address, &value, store.insn.operand);
    }
    insn_store_finish(&store, &regs, old);
    CU_ASSERT_EQUAL(regs.rip, rip + e->count);
    s->rax = regs.rax;
    s->rcx = regs.rcx;
    s->flags = regs.rflags;
}

static void random_state(const struct encoding *e, struct state *s)
{
    s->rax = random64();
    s->rcx = random64();
    s->flags = 0x202 | (random64() & ALL_FLAGS);
    for (unsigned i = 0; i < ARRAY_SIZE(s->memory); i++) {
        s->memory[i] = random64();
    }
    if (random() % 2) {
        s->memory[8] = s->rax; /* compare-exchange matches */
    }
    if (is_bit_by_register(e)) {
        s->rcx = (uint64_t)(random() % 1000 - 500);
    }
}

static void test_store__as_the_processor(void)
{
    code_page = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CU_ASSERT_FATAL(code_page != MAP_FAILED);
    for (unsigned i = 0; i < ARRAY_SIZE(encodings); i++) {
        const struct encoding *e = &encodings[i];
        bool same = true;
        for (unsigned round = 0; round < 200; round++) {
            struct state start, real, emulated;
            random_state(e, &start);
            real = emulated = start;
            run_on_processor(e, &real);
            run_emulated(e, &emulated);
            same = same && real.rax == emulated.rax && real.rcx == emulated.rcx &&
                   !((real.flags ^ emulated.flags) & e->flags) &&
                   !memcmp(real.memory, emulated.memory, sizeof(real.memory));
        }
        if (!same) {
            printf("\n    differs: %s\n", e->name);
        }
        CU_ASSERT(same);
        host_reset();
    }
    munmap(code_page, PAGE_SIZE);
}

static void test_address__all_forms(void)
{
    static const struct {
        uint8_t bytes[12], count;
        uint64_t address;
    } cases[] = {
        {{0x48, 0x89, 0x08}, 3, 0x1000},                                /* (rax) */
        {{0x48, 0x89, 0x48, 0x10}, 4, 0x1010},                          /* 16(rax) */
        {{0x48, 0x89, 0x88, 0xf0, 0xff, 0xff, 0xff}, 7, 0xff0},         /* -16(rax) */
        {{0x49, 0x89, 0x4d, 0x00}, 4, 0xd0000},                         /* 0(r13) */
        {{0x49, 0x89, 0x0c, 0x24}, 4, 0xc0000},                         /* (r12) */
        {{0x48, 0x89, 0x0c, 0x24}, 4, 0x7000},                          /* (rsp) */
        {{0x48, 0x89, 0x0c, 0xd8}, 4, 0x1000 + 8 * 0x30},               /* (rax,rbx,8) */
        {{0x4a, 0x89, 0x4c, 0x88, 0x04}, 5, 0x1000 + 4 * 0x90000 + 4},  /* 4(rax,r9,4) */
        {{0x48, 0x89, 0x0c, 0x25, 0x00, 0x20, 0x00, 0x00}, 8, 0x2000},  /* 0x2000 */
        {{0x48, 0x89, 0x0c, 0x1d, 0x00, 0x20, 0x00, 0x00}, 8, 0x2030},  /* 0x2000(,rbx,1) */
        {{0x67, 0x48, 0x89, 0x4e, 0xff}, 5, 0xffffffff},                /* -1(esi) */
        {{0x48, 0xa3, 1, 2, 3, 4, 5, 6, 7, 0}, 10, 0x0007060504030201}, /* absolute */
        {{0x2e, 0x48, 0x89, 0x08}, 4, 0x1000},                          /* a cs prefix */
    };
    struct cpu_user_regs regs = {
        .rax = 0x1000, .rbx = 0x30, .rsp = 0x7000, .r9 = 0x90000, .r12 = 0xc0000, .r13 = 0xd0000};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct insn_store store;
        regs.rip = host_guest_put(cases[i].bytes, cases[i].count);
        CU_ASSERT_EQUAL(insn_decode_store(&regs, &store), 0);
        CU_ASSERT_EQUAL(store.address, cases[i].address);
        CU_ASSERT_EQUAL(store.insn.bytes, cases[i].count);
    }
    /* rip-relative counts from the end, behind the immediate */
    static const uint8_t relative[] = {0x48, 0xc7, 0x05, 0x10, 0, 0, 0, 1, 0, 0, 0};
    struct insn_store store;
    regs.rip = host_guest_put(relative, sizeof(relative));
    CU_ASSERT_EQUAL(insn_decode_store(&regs, &store), 0);
    CU_ASSERT_EQUAL(store.address, regs.rip + sizeof(relative) + 0x10);
    CU_ASSERT_EQUAL(store.source, 1);
}

static void test_store__refused(void)
{
    static const struct {
        uint8_t bytes[8], count;
    } cases[] = {
        {{0x48, 0x89, 0xc8}, 3},             /* mov to a register */
        {{0x65, 0x48, 0x89, 0x08}, 4},       /* gs segment */
        {{0x48, 0x8b, 0x08}, 3},             /* a load */
        {{0x48, 0x81, 0x00, 1, 0, 0, 0}, 7}, /* add */
        {{0x48, 0xc7, 0x08, 1, 0, 0, 0}, 7}, /* c7 /1 */
        {{0x0f, 0xba, 0x20, 1}, 4},          /* bt, which stores nothing */
        {{0xf3, 0xaa}, 2},                   /* rep stos */
        {{0xf3, 0x48, 0x89, 0x08}, 4},       /* a prefix that makes another instruction */
        {{0x0f, 0x30}, 2},                   /* wrmsr */
        {{0x0f, 0xc7, 0x08}, 3},             /* cmpxchg8b */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct insn_store store;
        struct cpu_user_regs regs = {.rip = host_guest_put(cases[i].bytes, 8)};
        CU_ASSERT_EQUAL(insn_decode_store(&regs, &store), -EINVAL);
    }
}

static void test_fetch__not_beyond_the_instruction(void)
{
    static const uint8_t mov[] = {0x48, 0x89, 0x0f};
    struct insn insn;
    struct cpu_user_regs regs = {.rip = END_OF_WINDOW - sizeof(mov)};
    memcpy(host_guest_ptr(regs.rip), mov, sizeof(mov));
    CU_ASSERT_EQUAL(insn_fetch(&regs, true, &insn), 0);
    CU_ASSERT_EQUAL(insn.bytes, 3);
    /* The second byte is on a page that is not there. */
    regs.rip = END_OF_WINDOW - 1;
    host_fetch_reset();
    CU_ASSERT_EQUAL(insn_fetch(&regs, true, &insn), -EFAULT);
    regs.rip = HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(insn_fetch(&regs, true, &insn), -EFAULT);
    /* Over a page boundary in mapped memory. */
    regs.rip = HOST_GUEST_BASE + PAGE_SIZE - 1;
    memcpy(host_guest_ptr(regs.rip), mov, sizeof(mov));
    host_fetch_reset();
    CU_ASSERT_EQUAL(insn_fetch(&regs, true, &insn), 0);
    CU_ASSERT_EQUAL(insn.bytes, 3);
    CU_ASSERT_EQUAL(host.double_fetches, 0);
}

static void test_decode__too_long(void)
{
    uint8_t bytes[32];
    struct insn insn;
    memset(bytes, 0x66, sizeof(bytes));
    CU_ASSERT_EQUAL(insn_decode(bytes, sizeof(bytes), true, &insn), -ENODATA);
    memcpy(bytes + 12, (uint8_t[]){0x89, 0x48, 0x01}, 3);
    CU_ASSERT_EQUAL(insn_decode(bytes, sizeof(bytes), true, &insn), 0);
    CU_ASSERT_EQUAL(insn.bytes, 15);
    memcpy(bytes + 12, (uint8_t[]){0x66, 0x89, 0x48, 0x01}, 4);
    CU_ASSERT_EQUAL(insn_decode(bytes, sizeof(bytes), true, &insn), -ENODATA);
}

static void test_decode__32bit_code(void)
{
    struct insn insn;
    static const uint8_t in[] = {0x66, 0xed}, inc[] = {0x48, 0xed}, mov[] = {0x89, 0x08};
    CU_ASSERT_EQUAL(insn_decode(in, 2, false, &insn), 0);
    CU_ASSERT_EQUAL(insn.operand, 2);
    CU_ASSERT_EQUAL(insn.address, 4);
    CU_ASSERT_EQUAL(insn_decode(inc, 2, false, &insn), -EINVAL);
    CU_ASSERT_EQUAL(insn_decode(mov, 2, false, &insn), -EINVAL);
}

/* Any bytes: no read outside the buffer (the sanitizer looks), no length beyond it. */
static void test_decode__random_bytes(void)
{
    unsigned decoded = 0;
    for (unsigned round = 0; round < 200000; round++) {
        struct insn insn;
        unsigned count = (unsigned)random() % 17;
        uint8_t *bytes = malloc(count ? count : 1);
        for (unsigned i = 0; i < count; i++) {
            bytes[i] = (uint8_t)random();
        }
        if (count && random() % 2) {
            bytes[0] = 0x0f;
        }
        if (insn_decode(bytes, count, random() % 2, &insn) == 0) {
            decoded++;
            CU_ASSERT(insn.bytes > 0 && insn.bytes <= count && insn.bytes <= 15);
        }
        free(bytes);
    }
    CU_ASSERT(decoded > 1000);
}

static void test_reg_write__widths(void)
{
    struct cpu_user_regs regs = {.rax = 0x1122334455667788, .rsp = 0x1122334455667788};
    insn_reg_write(&regs, 0, 1, false, 0xaa);
    CU_ASSERT_EQUAL(regs.rax, 0x11223344556677aa);
    insn_reg_write(&regs, 4, 1, false, 0xbb); /* ah */
    CU_ASSERT_EQUAL(regs.rax, 0x112233445566bbaa);
    insn_reg_write(&regs, 4, 1, true, 0xcc); /* spl */
    CU_ASSERT_EQUAL(regs.rsp, 0x11223344556677cc);
    insn_reg_write(&regs, 0, 2, false, 0x12345);
    CU_ASSERT_EQUAL(regs.rax, 0x1122334455662345);
    insn_reg_write(&regs, 0, 4, false, 0x89abcdef);
    CU_ASSERT_EQUAL(regs.rax, 0x89abcdef);
    insn_reg_write(&regs, 15, 8, false, ~0UL);
    CU_ASSERT_EQUAL(regs.r15, ~0UL);
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_store__as_the_processor), CASE(test_address__all_forms),
        CASE(test_store__refused),          CASE(test_fetch__not_beyond_the_instruction),
        CASE(test_decode__too_long),        CASE(test_decode__32bit_code),
        CASE(test_decode__random_bytes),    CASE(test_reg_write__widths),
    };
    srandom(1);
    return SUITE("insn", 1, cases);
}
