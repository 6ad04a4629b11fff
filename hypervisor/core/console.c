// SPDX-License-Identifier: MIT
/*
 * console_io and the way of typed characters. The control domain's output goes to the serial port
 * as it is; a guest's only as limited log lines, when the command line asks for them. Input for the
 * control domain waits in a small ring; when that is full, further characters are lost.
 *
 * Lock: input_lock (RANK_CONSOLE), for the ring and the focus. Never held while printing or while a
 * key is acted upon.
 */
#include "core/console.h"

#include "arch/arch.h"
#include "base/cmdline.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/string.h"
#include "core/deferred.h"
#include "core/grant_table.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "core/span.h"
#include "core/watchdog.h"

#define SWITCH_CHAR 0x01 /* Ctrl-A */
#define SWITCH_PRESSES 3
#define INPUT_BYTES 1024
#define CHUNK_BYTES 128

static struct spinlock input_lock = SPINLOCK_INIT(RANK_CONSOLE);
/* under input_lock */
static char input[INPUT_BYTES];
static uint32_t input_start, input_end; /* free-running; [start, end) wait to be read */
bool console_to_hypervisor;
static unsigned switch_presses; /* held back until it is clear what they mean */

/* ---- output ---- */

/* A guest's text: printable characters only, a log line for each line or chunk. */
static void write_for_guest(struct domain *d, char *text)
{
    while (*text) {
        char *end = text;
        for (; *end && *end != '\n'; end++) {
            if (*end < ' ' || *end > '~') {
                *end = *end == '\t' || *end == '\r' ? ' ' : '?';
            }
        }
        if (end != text) {
            log_guest(d, "%.*s", (int)(end - text), text);
        }
        text = *end ? end + 1 : end;
    }
}

static long console_write(struct hypercall *hc)
{
    if (!hc->d->privileged && strcmp(cmdline.loglvl, "all")) {
        return -EPERM;
    }
    hc->arg[1] = (uint32_t)hc->arg[1];
    while (hc->arg[1]) {
        char text[CHUNK_BYTES + 1];
        size_t bytes = MIN(hc->arg[1], CHUNK_BYTES);
        long rc = guest_read(text, hc->arg[2], bytes);
        if (rc) {
            return rc;
        }
        if (hc->d->privileged) {
            log_raw(text, bytes);
        } else {
            text[bytes] = '\0';
            write_for_guest(hc->d, text);
        }
        hc->arg[1] -= bytes;
        hc->arg[2] += bytes;
        hypercall_preempt_soon(); /* a serial line is slow */
        if (hc->arg[1] && hypercall_preempt_check()) {
            return -ERESTART;
        }
    }
    return 0;
}

/* ---- the hypervisor's own keys ---- */

/* Figures of domains are read without their locks: a picture for a person, and it must come out
 * even when a lock is stuck. */
static void show_domain(struct domain *d)
{
    static const char *const names[] = {
        [DOM_ALIVE] = "alive", [DOM_DYING] = "dying", [DOM_DEAD] = "dead"};
    enum domain_state state = read_once(d->state);
    printk("domain %u%s: %s, refs %u, paused %u, pages %lu of %lu, grant frames %u, ports %u\n",
           (unsigned)d->id, d->privileged ? " (control)" : "",
           state == DOM_ALIVE && d->shut_down ? "shut down" : names[state], d->refs, d->pause_count,
           d->page_count, d->max_pages, d->grant->frame_count, d->evtchn.used);
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        const struct vcpu *v = d->vcpu[i];
        printk("  vcpu %u: pcpu %u%s, pause bits %x, used %lu ms, upcall %s\n", i, v->sched.pcpu,
               v->sched.running ? " running" : "", v->sched.pause_bits,
               (unsigned long)(sched_used_ns(v) / NS_PER_MS),
               evtchn_upcall_wanted(v) ? "wanted" : "idle");
        irq_window(false);
    }
}

static void show_registers(struct domain *d)
{
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        const struct vcpu *v = d->vcpu[i];
        if (!v->initialised) {
            continue;
        }
        bool here = v == current_vcpu();
        irq_window(false);
        if (sched_is_running(v) && !here) {
            printk("domain %u vcpu %u: running on pcpu %u\n", (unsigned)d->id, i, v->sched.pcpu);
            continue;
        }
        printk("domain %u vcpu %u: %s mode\n", (unsigned)d->id, i,
               v->pv.kernel_mode ? "kernel" : "user");
        log_regs(here ? guest_regs() : &v->regs);
    }
}

static void show_ports(struct domain *d)
{
    evtchn_show(d);
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        const vcpu_info_t *info = d->vcpu[i]->info;
        if (info) {
            printk("  vcpu %u: selector %lx, upcall%s%s\n", i, info->evtchn_pending_sel,
                   info->evtchn_upcall_pending ? " pending" : "",
                   info->evtchn_upcall_mask ? " masked" : "");
        }
    }
}

void console_keys_handle(char key)
{
    switch (key) {
    case 'h':
        printk(
            "keys: h help, q memory and domains, d registers of vCPUs, e event channels, i longest "
            "spans without interrupts, R reboot%s\n",
            DEBUG_BUILD ? ", W hang one processor" : "");
        break;
    case 'q':
        printk("memory: %lu of %lu frames free\n", frame_free_count(), frame_total_count());
        domain_for_each(show_domain);
        break;
    case 'd':
        domain_for_each(show_registers);
        break;
    case 'e':
        domain_for_each(show_ports);
        break;
    case 'i':
        span_report(true);
        break;
    case 'R':
        printk("restart asked for at the console\n");
        arch_reboot();
    case 'W':
        if (DEBUG_BUILD) {
            printk("processor %u hangs from here on\n", arch_cpu_id());
            watchdog_provoke();
        }
        break;
    case '\r':
    case '\n':
        break;
    default:
        printk("no such key; h for help\n");
    }
}

/* ---- input ---- */

static size_t input_take(char *to, size_t bytes)
{
    size_t count = 0;
    SPIN_GUARD(&input_lock);
    while (count < bytes && input_start != input_end) {
        to[count++] = input[input_start++ % INPUT_BYTES];
    }
    return count;
}

static long console_read(struct hypercall *hc)
{
    if (!hc->d->privileged) {
        return -EPERM;
    }
    char text[CHUNK_BYTES];
    uint32_t wanted = (uint32_t)hc->arg[1], done = 0;
    size_t count;
    while ((count = input_take(text, MIN(wanted - done, CHUNK_BYTES)))) {
        /* What was taken for an address that cannot be written is lost, as on a real line. */
        long rc = guest_write(hc->arg[2] + done, text, count);
        if (rc) {
            return rc;
        }
        done += (uint32_t)count;
    }
    return done;
}

static void input_add_locked(char c)
{
    if (input_end - input_start < INPUT_BYTES) {
        input[input_end++ % INPUT_BYTES] = c;
    }
}

enum typed { TYPED_NOTHING, TYPED_INPUT, TYPED_KEY, TYPED_SWITCH };

/* Where one character goes. Presses of the switch character that turn out not to be a switch go
 * where the character after them goes; as keys of the hypervisor they mean nothing. */
static enum typed typed_locked(char c)
{
    if (c == SWITCH_CHAR) {
        if (++switch_presses < SWITCH_PRESSES) {
            return TYPED_NOTHING;
        }
        switch_presses = 0;
        console_to_hypervisor = !console_to_hypervisor;
        return TYPED_SWITCH;
    }
    unsigned held_back = switch_presses;
    switch_presses = 0;
    if (console_to_hypervisor) {
        return TYPED_KEY;
    }
    while (held_back--) {
        input_add_locked(SWITCH_CHAR);
    }
    input_add_locked(c);
    return TYPED_INPUT;
}

void console_rx_work(void)
{
    bool notify = false;
    /* A line that never pauses must not keep this CPU for ever: as much as the ring holds at most,
     * the next interrupt brings us back. */
    for (unsigned i = 0; i < INPUT_BYTES; i++) {
        if (i % 32 == 31) {
            irq_window(false);
        }
        int c = arch_console_get();
        if (c < 0) {
            break;
        }
        spin_lock(&input_lock);
        enum typed typed = typed_locked((char)c);
        spin_unlock(&input_lock);
        if (typed == TYPED_INPUT) {
            notify = true;
        } else if (typed == TYPED_KEY) {
            console_keys_handle((char)c);
        } else if (typed == TYPED_SWITCH) {
            printk("*** input now goes to %s (Ctrl-A three times to change)\n",
                   read_once(console_to_hypervisor) ? "the hypervisor" : "the control domain");
        }
    }
    if (notify) {
        evtchn_send_global_virq(dom_control, VIRQ_CONSOLE);
    }
}

long hc_console_io(struct hypercall *hc)
{
    switch ((uint32_t)hc->arg[0]) {
    case CONSOLEIO_write:
        return console_write(hc);
    case CONSOLEIO_read:
        return console_read(hc);
    default:
        return hc->d->privileged ? -ENOSYS : -EPERM;
    }
}
