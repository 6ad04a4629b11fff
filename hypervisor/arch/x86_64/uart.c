// SPDX-License-Identifier: MIT
/*
 * A 16550 serial port at the address of COM1: all of the log's output and the console's input.
 * Output polls; input comes by interrupt 4 once irq.c has routed it, else irq.c polls at every
 * timer interrupt. Serialised by its only callers: output under log_lock, input on the first CPU.
 */
#include "base/cmdline.h"
#include "base/format.h"
#include "base/string.h"
#include "machine.h"

#define COM1 0x3f8
#define UART_CLOCK 115200

enum reg { DATA = 0, IER = 1, FCR = 2, LCR = 3, MCR = 4, LSR = 5, SCRATCH = 7, DIVISOR = 0 };
#define LCR_DLAB 0x80
#define LSR_DATA 0x01
#define LSR_TX_EMPTY 0x20
#define MCR_DTR_RTS_OUT2 0x0b /* OUT2 gates the interrupt line */
#define FCR_ENABLE_CLEAR 0x07
static bool present;
/* More than a byte takes at the chosen rate. A port that takes longer is stuck: what it does not
 * take at once is lost, and it is waited for again only after a whole piece of output went through.
 */
static unsigned tx_polls;

static uint8_t reg_read(enum reg r)
{
    return (uint8_t)arch_in(COM1 + r, 1);
}

static void reg_write(enum reg r, uint8_t value)
{
    arch_out(COM1 + r, 1, value);
}

void uart_early_init(const char *mode)
{
    /* "115200,8n1": rate, data bits, parity, stop bits; what is missing keeps its default. */
    const char *end;
    uint64_t baud = parse_u64(mode, &end);
    tx_polls = (unsigned)MAX(10000UL, 12000000 / MAX(baud, 50UL));
    uint64_t divisor = baud >= 50 && baud <= UART_CLOCK ? UART_CLOCK / baud : 1;
    uint8_t lcr = 3;
    if (*end == ',' && end[1] >= '5' && end[1] <= '8') {
        lcr = (uint8_t)(end[1] - '5');
        lcr |= end[2] == 'o' ? 0x08 : end[2] == 'e' ? 0x18 : 0;
        lcr |= end[2] && end[3] == '2' ? 0x04 : 0;
    }
    reg_write(SCRATCH, 0x5a);
    present = reg_read(SCRATCH) == 0x5a && strcmp(cmdline.console, "none");
    if (present) {
        reg_write(IER, 0);
        reg_write(LCR, LCR_DLAB);
        reg_write(DIVISOR, (uint8_t)divisor);
        reg_write(DIVISOR + 1, (uint8_t)(divisor >> 8));
        reg_write(LCR, lcr);
        reg_write(FCR, FCR_ENABLE_CLEAR);
        reg_write(MCR, MCR_DTR_RTS_OUT2);
    }
}

bool uart_present(void)
{
    return present;
}

bool uart_has_input(void)
{
    return present && (reg_read(LSR) & LSR_DATA);
}

void uart_irq_enable(void)
{
    reg_write(IER, 1);
}

static bool put_byte(char c, unsigned polls)
{
    while (polls--) {
        if (reg_read(LSR) & LSR_TX_EMPTY) {
            reg_write(DATA, (uint8_t)c);
            return true;
        }
    }
    return false;
}

void arch_console_put(const char *s, size_t bytes)
{
    static bool stuck;
    bool taken = true;
    for (size_t i = 0; present && i < bytes; i++) {
        unsigned polls = stuck || !taken ? 1 : tx_polls;
        taken &= s[i] != '\n' || put_byte('\r', polls);
        taken &= put_byte(s[i], polls);
    }
    stuck = !taken;
}

int arch_console_get(void)
{
    return uart_has_input() ? reg_read(DATA) : -1;
}
