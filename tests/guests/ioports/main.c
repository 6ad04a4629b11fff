/* SPDX-License-Identifier: MIT */
/*
 * Port I/O of a guest without devices: a general protection fault without the right, all ones and
 * no effect with it, for every port that would reset the machine, switch it off or speak on its
 * console; a bitmap gives user mode what it says and no more, wherever it lies.
 *
 * Not alone: the ports are the control domain's.
 */
#include "lib.h"

static uint64_t in_byte(uint64_t port)
{
    uint8_t value;
    __asm__ volatile("inb %w1, %0" : "=a"(value) : "d"(port));
    return value;
}

static uint64_t in_long(uint64_t port)
{
    uint32_t value;
    __asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(port));
    return value;
}

/* port | value << 16 */
static uint64_t out_byte(uint64_t pair)
{
    __asm__ volatile("outb %b0, %w1" : : "a"(pair >> 16), "d"(pair));
    return 0;
}

static uint64_t out_long(uint64_t pair)
{
    __asm__ volatile("outl %0, %w1" : : "a"((uint32_t)(pair >> 16)), "d"(pair));
    return 0;
}

static uint64_t out_string(uint64_t at)
{
    uint64_t count = 16;
    __asm__ volatile("rep outsb" : "+S"(at), "+c"(count) : "d"(0x3f8) : "memory");
    return count;
}

static uint64_t in_string(uint64_t at)
{
    uint64_t count = 16;
    __asm__ volatile("rep insb" : "+D"(at), "+c"(count) : "d"(0x60) : "memory");
    return count;
}

static uint64_t no_interrupts(uint64_t arg)
{
    __asm__ volatile("cli; sti" : : : "memory");
    return arg;
}

static const uint16_t ports[] = {0x20,  0x40,   0x60,  0x61,  0x64,  0x70,  0x71,
                                 0x80,  0x92,   0xa1,  0xf0,  0x3f8, 0x3fd, 0x4d0,
                                 0x604, 0xb004, 0xcf8, 0xcf9, 0xcfc, 0x510, 0xffff};

static long set_iopl(uint32_t iopl)
{
    struct physdev_set_iopl set = {.iopl = iopl};
    return physdev_op(PHYSDEVOP_set_iopl, &set);
}

static long set_bitmap(const void *bitmap, uint32_t count)
{
    struct physdev_set_iobitmap set = {.nr_ports = count};
    set_xen_guest_handle(set.bitmap, (uint8_t *)bitmap);
    return physdev_op(PHYSDEVOP_set_iobitmap, &set);
}

static void bitmap(void)
{
    static uint8_t bits[8192 + 1];
    memset(bits, 0xff, sizeof(bits));
    bits[0x60 / 8] = (uint8_t)~1;
    CHECK_IS(set_iopl(0), 0);
    CHECK_IS(set_bitmap(bits, 65536), 0);
    CHECK_IS(try_user(in_byte, 0x60).value, 0xff);
    CHECK_FAULT(try_user(in_byte, 0x61), VEC_GP, 0);
    CHECK_FAULT(try_user(in_long, 0x60), VEC_GP, 0);
    memset(bits, 0, sizeof(bits));
    CHECK_FAULT(try_user(in_byte, 0xffff), NO_FAULT, 0);
    CHECK_FAULT(try_user(in_long, 0xfffe), VEC_GP, 0);
    CHECK_IS(set_bitmap(bits, 0x60), 0);
    CHECK_FAULT(try_user(in_byte, 0x5f), NO_FAULT, 0);
    CHECK_FAULT(try_user(in_byte, 0x60), VEC_GP, 0);
    CHECK_IS(set_bitmap((void *)HYP_START, 65536), 0);
    CHECK_FAULT(try_user(in_byte, 0x60), VEC_GP, 0);
    CHECK_IS(set_bitmap((void *)0xffffffffffffffff, 65536), 0);
    CHECK_FAULT(try_user(in_byte, 0x60), VEC_GP, 0);
    CHECK_IS(set_bitmap((void *)0x1000, 65536), 0);
    CHECK_FAULT(try_user(in_byte, 0x60), VEC_GP, 0);
    CHECK_IS(set_bitmap(bits, 65537), -EINVAL);
    CHECK_IS(set_bitmap((void *)NONCANONICAL, 8), -EINVAL);
    CHECK_IS(set_bitmap(bits, 0), 0);
}

void test_main(void)
{
    static char text[32] = "never on the console";
    user_tables_init();
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        CHECK_FAULT(try_call(in_byte, ports[i]), VEC_GP, 0);
        CHECK_FAULT(try_user(in_byte, ports[i]), VEC_GP, 0);
        CHECK_FAULT(try_call(out_byte, ports[i] | 0xfe0000), VEC_GP, 0);
        CHECK_FAULT(try_user(out_long, ports[i]), VEC_GP, 0);
    }
    CHECK_FAULT(try_call(no_interrupts, 0), VEC_GP, 0);
    CHECK_IS(set_iopl(4), -EINVAL);
    CHECK_IS(set_iopl(~0u), -EINVAL);

    CHECK_IS(set_iopl(1), 0);
    CHECK_FAULT(try_call(no_interrupts, 0), NO_FAULT, 0);
    CHECK_FAULT(try_user(no_interrupts, 0), VEC_GP, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        CHECK_IS(try_call(in_byte, ports[i]).value, 0xff);
        CHECK_IS(try_call(in_long, ports[i]).value, 0xffffffff);
        CHECK_FAULT(try_call(out_byte, ports[i] | 0xfe0000), NO_FAULT, 0);
        CHECK_FAULT(try_call(out_byte, ports[i] | 0x060000), NO_FAULT, 0);
        CHECK_FAULT(try_call(out_long, ports[i] | 0x20000000), NO_FAULT, 0);
        CHECK_FAULT(try_user(in_byte, ports[i]), VEC_GP, 0);
    }
    CHECK_FAULT(try_call(out_string, (uint64_t)text), NO_FAULT, 0);
    CHECK_FAULT(try_call(in_string, (uint64_t)text), NO_FAULT, 0);
    CHECK_IS(text[0], (char)0xff);
    CHECK_FAULT(try_call(out_string, 0x1000), VEC_PF, 0);
    struct fault f = try_call(in_string, 0xffff840000200000);
    CHECK_FAULT(f, VEC_PF, ERR_W);
    CHECK_IS(f.cr2, 0xffff840000200000);
    CHECK_IS(set_iopl(3), 0);
    CHECK_IS(try_user(in_byte, 0x60).value, 0xff);
    CHECK_IS(set_iopl(0), 0);
    bitmap();
}
