// SPDX-License-Identifier: MIT
/*
 * The journal: what a daemon that was killed leaves behind is what the next one goes on with. First
 * records as bytes: replayed, cut anywhere, damaged anywhere. Then a daemon with guests on rings
 * that is killed a thousand times while they work; they must not notice, except that transactions
 * are to be repeated.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/test_store_util.h"
#include "xenstore-lite/journal_file.h"
#include "xenstore-lite/ring.h"
#include "xenstore-lite/socket.h"

#define IS(expression, text) CU_ASSERT_STRING_EQUAL(expression, text)

/* ---- the state as text, for comparison ---- */

static void dump_node(void *ctx, const char *path, struct node *n)
{
    buf_printf(ctx, "%s=%.*s ", path, (int)n->value->len, n->value->data);
    for (uint32_t i = 0; i < n->perms->count; i++) {
        buf_printf(ctx, "%u:%u:%llu,", n->perms->e[i].domid, n->perms->e[i].bits,
                   (unsigned long long)n->perms->e[i].gen);
    }
    buf_printf(ctx, "\n");
}

static void dump_conn(struct buf *b, struct conn *c)
{
    for (struct map_node *n = map_first(&c->watches.by_key); n; n = watch_next(&c->watches, n)) {
        const struct watch *w = MAP_ENTRY(n, struct watch, by_key);

        buf_printf(b, "  watch %s %s %zu %u\n", w->path, w->token, w->home_len, w->depth);
    }
    for (struct map_node *n = map_first(&c->txns); n;
         n = map_after(&c->txns, &MAP_ENTRY(n, struct txn, by_id)->id)) {
        buf_printf(b, "  transaction %u\n", MAP_ENTRY(n, struct txn, by_id)->id);
    }
    buf_printf(b, "  read to %u, %zu bytes of the next\n", c->in_pos, c->in.got);
}

/* Everything a restart must bring back, except what waits to be sent. */
static char *dump(struct server *s)
{
    struct buf b = {0};

    node_walk(s->store.live.root, "/", dump_node, &b);
    for (struct map_node *n = map_first(&s->domains); n;
         n = map_after(&s->domains, &MAP_ENTRY(n, struct domain, by_id)->domid)) {
        const struct domain *d = MAP_ENTRY(n, struct domain, by_id);

        buf_printf(&b, "domain %u: %d%d%d%d %u born %llu nodes %ld mfn %llu port %u quota %u\n",
                   d->domid, d->introduced, d->seen, d->shutdown, d->has_target, d->target,
                   (unsigned long long)d->born, d->nodes, (unsigned long long)d->mfn, d->port,
                   server_quota(s, d)->nodes);
        if (d->conn) {
            dump_conn(&b, d->conn);
        }
    }
    buf_printf(&b, "unseen %zu\n", s->unseen);
    buf_printf(&b, "generation %llu, nodes %llu, quota %u\n", (unsigned long long)s->store.gen,
               (unsigned long long)s->store.nodes, s->quota.watches);
    buf_add(&b, "", 1);
    return b.data;
}

/* ---- records in memory ---- */

#define GUESTS 3

struct guest {
    struct xenstore_domain_interface *page;
    struct ring ring;
};

static struct server s;
static struct fake dom0;
static struct guest guests[GUESTS + 1]; /* by domain */
static struct buf records;
static size_t ends[4096]; /* of the records so far */
static char *dumps[4096]; /* and what the state was then */
static size_t record_count;

static void keep_record(void *ctx, const void *record, size_t len)
{
    (void)ctx;
    buf_add(&records, record, len);
}

static void quiet(void *ctx)
{
    (void)ctx;
}

static int connect_page(void *ctx, uint16_t domid, uint64_t mfn, uint32_t port,
                        struct transport *out)
{
    struct guest *g = &guests[domid];

    (void)ctx;
    (void)mfn;
    (void)port;
    if (domid > GUESTS || !g->page) {
        return -ESRCH;
    }
    g->ring = (struct ring){.page = g->page, .notify = quiet, .release = quiet};
    ring_init(&g->ring, out);
    return 0;
}

static const struct platform pages = {.connect = connect_page};

/* Puts a request on a guest's ring as far as it fits, as a kernel would. */
static void put(struct guest *g, const void *data, size_t len)
{
    struct xenstore_domain_interface *p = g->page;

    for (size_t i = 0; i < len && p->req_prod - p->req_cons < XENSTORE_RING_SIZE; i++) {
        p->req[MASK_XENSTORE_IDX(p->req_prod)] = ((const char *)data)[i];
        p->req_prod++;
    }
}

static void guest_send(uint16_t domid, uint32_t type, uint32_t tx, const char *body, size_t len)
{
    struct xsd_sockmsg hdr = {.type = type, .tx_id = tx, .len = (uint32_t)len};

    put(&guests[domid], &hdr, sizeof(hdr));
    put(&guests[domid], body, len);
    guests[domid].page->rsp_cons = guests[domid].page->rsp_prod;
    conn_wake(server_find_domain(&s, domid)->conn);
    fake_run(&s);
}

/* Guests that are not connected are introduced. */
static void introduce_all(unsigned int x)
{
    char text[200];

    for (int i = 1; i <= GUESTS; i++) {
        if (!server_find_domain(&s, (uint16_t)i) || !server_find_domain(&s, (uint16_t)i)->conn) {
            sprintf(text, "%d|%u|%u|", i, x, x % 1000 + 1);
            fake_ask(&dom0, XS_INTRODUCE, 0, text);
            sprintf(text, "/local/domain/%d/data|", i);
            fake_ask(&dom0, XS_MKDIR, 0, text);
            sprintf(text, "/local/domain/%d/data|n%d|", i, i);
            fake_ask(&dom0, XS_SET_PERMS, 0, text);
        }
    }
}

/* One change of state chosen by a number. */
static void change(unsigned int x)
{
    uint16_t domid = (uint16_t)(x % GUESTS + 1);
    char text[200];
    int n = (int)(x >> 8) % 12;

    introduce_all(x);
    switch ((x >> 4) % 12) {
    case 0:
    case 1:
        n = sprintf(text, "data/%d/leaf%d", n, n % 3) + 1;
        n += sprintf(text + n, "value %u", x);
        guest_send(domid, XS_WRITE, 0, text, (size_t)n);
        break;
    case 2:
        n = sprintf(text, "data/%d", n) + 1;
        guest_send(domid, XS_RM, 0, text, (size_t)n);
        break;
    case 3:
        n = (x & 0x30000) == 0x30000
                ? sprintf(text, "%s|token%d|1|", n % 2 ? "/tool" : "@releaseDomain", n)
                : sprintf(text, "/tool/%d|token%d|", n, n % 4);
        for (int i = 0; i < n; i++) {
            text[i] = text[i] == '|' ? '\0' : text[i];
        }
        guest_send(domid, x & 0x10000 ? XS_WATCH : XS_UNWATCH, 0, text, (size_t)n);
        break;
    case 4:
        guest_send(domid, XS_TRANSACTION_START, 0, "", 1);
        break;
    case 5:
        guest_send(domid, XS_TRANSACTION_END, (uint32_t)n, x & 0x10000 ? "T" : "F", 2);
        break;
    case 6:
        if (n == 0) {
            guest_send(domid, XS_RESET_WATCHES, 0, "", 1);
        }
        break;
    case 7:
        sprintf(text, "/local/domain/%u/data|n%u|r%d|", domid, domid, n);
        fake_ask(&dom0, XS_SET_PERMS, 0, text);
        break;
    case 8:
        sprintf(text, "/a/b%d/c/d|w%d", n, n);
        fake_ask(&dom0, n % 4 ? XS_WRITE : XS_RM, 0, n % 4 ? text : "/a|");
        break;
    case 9:
        sprintf(text, "quota|set|%s%s%d|", n % 2 ? "2|nodes|" : "watches|", "10", n);
        fake_ask(&dom0, XS_CONTROL, 0, text);
        fake_ask(&dom0, XS_SET_PERMS, 0, n % 2 ? "@releaseDomain|n0|r2|" : "@releaseDomain|n0|");
        break;
    case 10:
        if (n == 1) {
            server_domain_gone(&s, domid);
        } else if (n == 2) {
            guests[domid].page->connection = XENSTORE_RECONNECT;
        }
        break;
    default:
        sprintf(text, "%u|%u|%u|", domid, x, x % 1000 + 1);
        fake_ask(&dom0, XS_INTRODUCE, 0, text);
        break;
    }
    fake_run(&s);
}

static struct journal in_memory = {.sink = keep_record};

static int open_records(void)
{
    unsigned int x = 12345;

    for (int i = 1; i <= GUESTS; i++) {
        guests[i].page = mem_zalloc(sizeof(*guests[i].page));
    }
    server_init(&s, &pages);
    fake_connect(&dom0, &s, 0);
    s.journal = &in_memory;
    journal_snapshot(&in_memory, &s);
    for (record_count = 0; record_count < 1500; record_count++) {
        change(x >> 4);
        x = x * 1664525 + 1013904223;
        journal_commit(&in_memory, &s);
        ends[record_count] = records.len;
        dumps[record_count] = dump(&s);
    }
    return 0;
}

static int close_records(void)
{
    server_destroy(&s);
    fake_free(&dom0);
    buf_free(&records);
    buf_free(&in_memory.pending);
    for (size_t i = 0; i < record_count; i++) {
        free(dumps[i]);
    }
    for (int i = 1; i <= GUESTS; i++) {
        free(guests[i].page);
    }
    return 0;
}

/* The state after replaying bytes. */
static char *replayed(const void *data, size_t len, size_t *used)
{
    struct server again;
    char *text;

    server_init(&again, NULL);
    view_rm(&again.store.live, "/tool");
    server_book(&again, &again.store.live);
    *used = journal_replay(&again, data, len);
    text = dump(&again);
    server_destroy(&again);
    return text;
}

static void test_journal__every_state_comes_back(void)
{
    for (size_t i = 0; i < record_count; i += i < 100 ? 1 : 23) {
        size_t used;
        char *text = replayed(records.data, ends[i], &used);

        CU_ASSERT_EQUAL(used, ends[i]);
        CU_ASSERT_STRING_EQUAL_FATAL(text, dumps[i]);
        free(text);
    }
}

static void test_journal__cut_anywhere(void)
{
    for (size_t len = ends[20]; len < ends[60]; len += 7) {
        size_t i = 0, used;
        char *text = replayed(records.data, len, &used);

        while (ends[i + 1] <= used) {
            i++;
        }
        CU_ASSERT_TRUE(used <= len);
        /* A step of the test may write several records: its state is there after the last. */
        if (ends[i] == used) {
            CU_ASSERT_STRING_EQUAL_FATAL(text, dumps[i]);
        }
        free(text);
    }
}

static void test_journal__damaged_anywhere(void)
{
    size_t used, len = ends[200];
    char *copy = mem_alloc(len);

    for (size_t at = 0; at < len; at += 191) {
        memcpy(copy, records.data, len);
        copy[at] = (char)(copy[at] ^ (1 << at % 8));
        free(replayed(copy, len, &used));
        CU_ASSERT_TRUE(used <= at);
    }
    free(copy);
}

/* With a right checksum, as if a program had gone mad: no entry may do harm. */
static void test_journal__mad_records(void)
{
    unsigned int x = 99;

    for (int round = 0; round < 3000; round++) {
        struct server again;
        struct journal mad = {.sink = keep_record};
        struct buf before = records;
        size_t from = (size_t)x % (before.len / 2), len = 8 + x / 7 % 300;

        records = (struct buf){0};
        server_init(&again, NULL);
        buf_add(&mad.pending, before.data + from, len);
        for (int i = 0; i < 4; i++) {
            x = x * 1664525 + 1013904223;
            mad.pending.data[x % len] = (char)(x >> 24);
        }
        mad.pending.data[0] = (char)(x >> 8 & 31);
        memset(mad.pending.data + 1, 0, 3);
        journal_commit(&mad, &again);
        journal_replay(&again, records.data, records.len);
        server_destroy(&again);
        buf_free(&mad.pending);
        buf_free(&records);
        records = before;
    }
}

static void test_journal__snapshot_is_the_state(void)
{
    struct buf before = records;
    size_t used;
    char *now = dump(&s), *text;

    records = (struct buf){0};
    journal_snapshot(&in_memory, &s);
    text = replayed(records.data, records.len, &used);
    CU_ASSERT_EQUAL(used, records.len);
    IS(text, now);
    free(text);
    free(now);
    buf_free(&records);
    records = before;
}

/* ---- a daemon that is killed ---- */

#define KILLS 1000

static char folder[64];
static unsigned int random_state = 1;

static unsigned int any(unsigned int below)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % below;
}

/* A child that writes a snapshot stops before its first byte, if it is to. */
static struct {
    pid_t stop_all_but; /* a daemon; 0: nobody stops */
    pid_t stopped;
} * shared;

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (shared && shared->stop_all_but == getppid() && !shared->stopped) {
        shared->stopped = getpid();
        raise(SIGSTOP);
    }
    return __real_write(fd, data, len);
}

/* Nobody spins: a test shares its machine. */
static const struct timespec moment = {.tv_nsec = 20000};

/* The daemon: sets up what is missing and then serves the rings for ever. */
static void serve(void)
{
    struct journal_file *f;
    struct server d;

    server_init(&d, NULL);
    if (journal_open(folder, &d, &f) < 0) {
        _exit(1);
    }
    d.platform = &pages;
    server_reconnect(&d);
    for (uint16_t i = 1; i <= GUESTS; i++) {
        const struct domain *dom = server_find_domain(&d, i);

        if ((!dom || !dom->conn) && server_introduce(&d, i, 1, 1) < 0) {
            _exit(2);
        }
    }
    for (uint16_t i = 1; i <= GUESTS; i++) {
        char path[64];

        sprintf(path, "/local/domain/%u/data", i);
        if (!node_find(d.store.live.root, path)) {
            struct perms *p = perms_new(i, 0, ++d.store.gen);

            view_mkdir(&d.store.live, path, 0);
            view_set_perms(&d.store.live, path, p);
            perms_put(p);
        }
    }
    if (!node_find(d.store.live.root, "/shared/count")) {
        struct perms *p = perms_new(0, PERM_READ | PERM_WRITE, ++d.store.gen);

        view_write(&d.store.live, "/shared/count", "0", 1, 0);
        view_set_perms(&d.store.live, "/shared/count", p);
        perms_put(p);
    }
    server_committed(&d, &d.store.live);
    journal_commit(d.journal, &d);
    for (;;) {
        for (struct conn *c = d.conns; c; c = c->next) {
            conn_wake(c);
        }
        server_run(&d);
        journal_tend(f);
        nanosleep(&moment, NULL);
    }
}

/* A guest at work: one request at a time. */
struct worker {
    uint16_t domid;
    enum { WATCH, WRITE, READ, START, LOOK, ADD, END } step;
    bool asked;
    struct xsd_sockmsg request;
    struct wire_in answer;
    char body[2100];
    size_t put;          /* bytes of request and body on the ring */
    char value[1600];    /* last one written */
    uint32_t tx;         /* transaction */
    unsigned long count; /* read in it */
    unsigned long done;  /* transactions that went through */
    unsigned long again; /* that have to be repeated */
    unsigned long events;
    unsigned long wrong; /* answers that are not right */
};

static void ask(struct worker *w, uint32_t type, uint32_t tx, size_t len)
{
    w->request = (struct xsd_sockmsg){
        .type = type, .req_id = w->request.req_id + 1, .tx_id = tx, .len = (uint32_t)len};
    w->put = 0;
    w->asked = true;
}

static void next_request(struct worker *w)
{
    size_t len;

    switch (w->step) {
    case WATCH:
        memcpy(w->body, "/shared\0tok", 12);
        ask(w, XS_WATCH, 0, 12);
        break;
    case WRITE:
        /* Often more than a ring holds. */
        len = 1 + any(sizeof(w->value) - 2);
        memset(w->value, 'a' + (int)any(26), len);
        w->value[len] = '\0';
        memcpy(w->body, "data/x", 7);
        memcpy(w->body + 7, w->value, len);
        ask(w, XS_WRITE, 0, 7 + len);
        break;
    case READ:
        memcpy(w->body, "data/x", 7);
        ask(w, XS_READ, 0, 7);
        break;
    case START:
        w->body[0] = '\0';
        ask(w, XS_TRANSACTION_START, 0, 1);
        break;
    case LOOK:
        memcpy(w->body, "/shared/count", 14);
        ask(w, XS_READ, w->tx, 14);
        break;
    case ADD:
        len = 14 + (size_t)sprintf(w->body + 14, "%lu", w->count + 1);
        memcpy(w->body, "/shared/count", 14);
        ask(w, XS_WRITE, w->tx, len);
        break;
    case END:
        memcpy(w->body, "T", 2);
        ask(w, XS_TRANSACTION_END, w->tx, 2);
        break;
    }
}

static void take_answer(struct worker *w)
{
    const struct xsd_sockmsg *hdr = &w->answer.hdr;
    const char *text = w->answer.body;

    if (hdr->type == XS_WATCH_EVENT) {
        w->events++;
        return;
    }
    if (!w->asked || hdr->req_id != w->request.req_id) {
        w->wrong++;
        return;
    }
    w->asked = false;
    if (w->step == END && hdr->type == XS_ERROR && strcmp(text, "EAGAIN") == 0) {
        w->again++;
        w->step = START;
        return;
    }
    w->wrong += hdr->type != w->request.type;
    switch (w->step) {
    case READ:
        w->wrong += strcmp(text, w->value) != 0;
        break;
    case START:
        w->tx = (uint32_t)strtoul(text, NULL, 10);
        break;
    case LOOK:
        w->count = strtoul(text, NULL, 10);
        break;
    case END:
        w->done++;
        w->step = WRITE;
        return;
    default:
        break;
    }
    w->step++;
}

static uint32_t load(const uint32_t *index)
{
    return __atomic_load_n(index, __ATOMIC_SEQ_CST);
}

/* Moves what can be moved on the ring, as a kernel does. */
static void work(struct worker *w, bool more)
{
    struct xenstore_domain_interface *p = guests[w->domid].page;
    uint32_t prod = p->req_prod, cons = p->rsp_cons;

    if (!w->asked && more) {
        next_request(w);
    }
    while (w->asked && w->put < sizeof(w->request) + w->request.len &&
           prod - load(&p->req_cons) < XENSTORE_RING_SIZE) {
        p->req[MASK_XENSTORE_IDX(prod)] = w->put < sizeof(w->request)
                                              ? ((const char *)&w->request)[w->put]
                                              : w->body[w->put - sizeof(w->request)];
        w->put++;
        prod++;
        __atomic_store_n(&p->req_prod, prod, __ATOMIC_SEQ_CST);
    }
    while (load(&p->rsp_prod) != cons) {
        size_t len;
        char *at = wire_want(&w->answer, &len);

        *at = p->rsp[MASK_XENSTORE_IDX(cons)];
        cons++;
        __atomic_store_n(&p->rsp_cons, cons, __ATOMIC_SEQ_CST);
        if (wire_got(&w->answer, 1) == 1) {
            take_answer(w);
            wire_reset(&w->answer);
        }
    }
}

static pid_t start(void)
{
    pid_t pid = fork();

    if (pid == 0) {
        serve();
    }
    return pid;
}

static struct worker workers[GUESTS];

static int open_killed(void)
{
    strcpy(folder, "/tmp/paravane-journal-XXXXXX");
    for (uint16_t i = 1; i <= GUESTS; i++) {
        guests[i].page =
            mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (guests[i].page == MAP_FAILED) {
            return 1;
        }
        workers[i - 1].domid = i;
    }
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    /* Children of daemons that are gone are ours. */
    if (shared == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
        return 1;
    }
    /* New snapshots come often, so that kills hit them as well. */
    journal_log_bytes = 8192;
    return mkdtemp(folder) ? 0 : 1;
}

static int close_killed(void)
{
    char command[96];

    for (int i = 1; i <= GUESTS; i++) {
        munmap(guests[i].page, 4096);
    }
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* All guests go on for a while. */
static void work_all(unsigned int rounds, bool more)
{
    for (unsigned int i = 0; i < rounds; i++) {
        for (int g = 0; g < GUESTS; g++) {
            work(&workers[g], more);
        }
        nanosleep(&moment, NULL);
    }
}

static bool all_idle(void)
{
    bool idle = true;

    for (int i = 0; i < GUESTS; i++) {
        idle = idle && !workers[i].asked;
    }
    return idle;
}

static void test_killed__nobody_notices(void)
{
    const time_t limit = time(NULL) + 600;
    unsigned long done = 0, again = 0;
    pid_t pid = start();

    for (int kills = 0; kills < KILLS || !all_idle();) {
        work_all(1 + any(60), kills < KILLS);
        CU_ASSERT_FATAL(time(NULL) < limit);
        if (kills < KILLS) {
            int status;

            kill(pid, SIGKILL);
            CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
            CU_ASSERT_TRUE_FATAL(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            kills++;
            pid = start();
        }
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < GUESTS; i++) {
        CU_ASSERT_EQUAL(workers[i].wrong, 0);
        CU_ASSERT(workers[i].done > 0);
        CU_ASSERT(workers[i].events > 0);
        done += workers[i].done;
        again += workers[i].again;
    }
    printf("  %d kills: %lu transactions went through, %lu were to be repeated\n", KILLS, done,
           again);
}

/* The child of a daemon that is killed goes on writing its snapshot when the next one has made a
 * newer. */
static void test_killed__child_is_late(void)
{
    const time_t limit = time(NULL) + 600;
    pid_t pid = start();

    shared->stop_all_but = pid;
    while (!shared->stopped) {
        work_all(10, true);
        CU_ASSERT_FATAL(time(NULL) < limit);
    }
    shared->stop_all_but = 0;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    journal_log_bytes = 1 << 30; /* one snapshot, no others */
    pid = start();
    work_all(500, true);
    kill(shared->stopped, SIGCONT);
    CU_ASSERT_EQUAL(waitpid(shared->stopped, NULL, 0), shared->stopped);
    while (!all_idle()) {
        work_all(10, false);
        CU_ASSERT_FATAL(time(NULL) < limit);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_killed__all_is_there(void)
{
    unsigned long done = 0;
    struct journal_file *f;
    struct fake control;
    char text[64];

    server_init(&s, NULL);
    CU_ASSERT_EQUAL_FATAL(journal_open(folder, &s, &f), 0);
    fake_connect(&control, &s, 0);
    for (int i = 0; i < GUESTS; i++) {
        sprintf(text, "/local/domain/%d/data/x|", i + 1);
        IS(fake_ask(&control, XS_READ, 0, text), workers[i].value);
        CU_ASSERT_EQUAL(server_find_domain(&s, (uint16_t)(i + 1))->conn->watches.by_key.count, 1);
        done += workers[i].done;
    }
    sprintf(text, "%lu", done);
    IS(fake_ask(&control, XS_READ, 0, "/shared/count|"), text);
    IS(fake_check(&control), "OK|");
    journal_close(f);
    server_destroy(&s);
    fake_free(&control);
}

/*
 * A child that writes a snapshot has the sockets of all clients too. A client that leaves in that
 * time, so late that its end is an event of the next round, is freed and not heard of again.
 */
static void test_killed__client_leaves_meanwhile(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int client = socket(AF_UNIX, SOCK_STREAM, 0), epoll = epoll_create1(0), listener;
    struct epoll_event event;
    pid_t child;

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/socket", folder);
    server_init(&s, NULL);
    listener = socket_listen(addr.sun_path);
    CU_ASSERT_FATAL(listener >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(client, (struct sockaddr *)&addr, sizeof(addr)), 0);
    CU_ASSERT_EQUAL(socket_accept(listener, epoll, &s), 1);
    server_run(&s);
    CU_ASSERT_EQUAL(epoll_wait(epoll, &event, 1, 0), 1);
    child = fork();
    if (child == 0) {
        pause();
    }
    conn_wake(s.conns);
    shutdown(client, SHUT_RDWR); /* closed alone it would still be open in the child */
    server_run(&s);
    CU_ASSERT_PTR_NULL(s.conns);
    CU_ASSERT_EQUAL(epoll_wait(epoll, &event, 1, 0), 0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(client);
    close(listener);
    close(epoll);
    server_destroy(&s);
}

static void test_killed__one_store_a_folder(void)
{
    struct journal_file *f, *second;
    struct server other;

    server_init(&s, NULL);
    server_init(&other, NULL);
    CU_ASSERT_EQUAL_FATAL(journal_open(folder, &s, &f), 0);
    CU_ASSERT_EQUAL(journal_open(folder, &other, &second), -EWOULDBLOCK);
    CU_ASSERT_PTR_NULL(other.journal);
    journal_close(f);
    server_destroy(&s);
    server_destroy(&other);
}

static void add_suites(void)
{
    CU_pSuite suite = CU_add_suite("records", open_records, close_records);

    CU_ADD_TEST(suite, test_journal__every_state_comes_back);
    CU_ADD_TEST(suite, test_journal__cut_anywhere);
    CU_ADD_TEST(suite, test_journal__damaged_anywhere);
    CU_ADD_TEST(suite, test_journal__mad_records);
    CU_ADD_TEST(suite, test_journal__snapshot_is_the_state);
    suite = CU_add_suite("killed", open_killed, close_killed);
    CU_ADD_TEST(suite, test_killed__nobody_notices);
    CU_ADD_TEST(suite, test_killed__all_is_there);
    CU_ADD_TEST(suite, test_killed__child_is_late);
    CU_add_test(suite, "test_killed__all_is_still_there", test_killed__all_is_there);
    CU_ADD_TEST(suite, test_killed__client_leaves_meanwhile);
    CU_ADD_TEST(suite, test_killed__one_store_a_folder);
}

int main(void)
{
    return fake_main("test_store_journal", add_suites);
}
