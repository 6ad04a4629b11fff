// SPDX-License-Identifier: MIT
/*
 * Help for the store's unit tests. See test_store_util.h.
 */
#include "test_store_util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ssize_t fake_read(void *io, void *data, size_t len)
{
    struct fake *f = io;
    size_t n = f->to_server.len - f->taken;

    n = n < len ? n : len;
    if (f->step && n > f->step) {
        n = f->step;
    }
    if (n > 0) {
        memcpy(data, f->to_server.data + f->taken, n);
        f->taken += n;
    }
    return (ssize_t)n;
}

static ssize_t fake_write(void *io, const void *data, size_t len)
{
    struct fake *f = io;
    size_t n = len < f->room ? len : f->room;

    buf_add(&f->from_server, data, n);
    f->writes += n > 0;
    if (f->room != SIZE_MAX) {
        f->room -= n;
    }
    return (ssize_t)n;
}

static void fake_fail(void *io, int reason)
{
    ((struct fake *)io)->failed = reason;
}

static void fake_close(void *io)
{
    ((struct fake *)io)->closed = true;
}

void fake_connect(struct fake *f, struct server *s, uint16_t domid)
{
    const struct transport t = {
        .read = fake_read, .write = fake_write, .fail = fake_fail, .close = fake_close, .io = f};

    *f = (struct fake){.room = SIZE_MAX};
    if (domid == 0) {
        f->conn = conn_new(s, 0, NULL, &t);
        return;
    }
    server_introduce(s, domid, 1, 1);
    f->conn = server_attach(s, server_domain(s, domid), &t);
}

void fake_free(struct fake *f)
{
    buf_free(&f->to_server);
    buf_free(&f->from_server);
}

void fake_raw(struct fake *f, const void *data, size_t len)
{
    buf_add(&f->to_server, data, len);
    if (!f->closed) {
        conn_wake(f->conn);
    }
}

void fake_send(struct fake *f, uint32_t type, uint32_t tx, const void *data, size_t len)
{
    const struct xsd_sockmsg hdr = {.type = type, .req_id = 77, .tx_id = tx, .len = (uint32_t)len};

    fake_raw(f, &hdr, sizeof(hdr));
    fake_raw(f, data, len);
}

static bool peek(struct fake *f, struct xsd_sockmsg *hdr, const char **body)
{
    size_t left = f->from_server.len - f->seen;

    if (left < sizeof(*hdr)) {
        return false;
    }
    memcpy(hdr, f->from_server.data + f->seen, sizeof(*hdr));
    *body = f->from_server.data + f->seen + sizeof(*hdr);
    return left >= sizeof(*hdr) + hdr->len;
}

bool fake_next(struct fake *f, struct fake_msg *m)
{
    const char *body;

    if (!peek(f, &m->hdr, &body)) {
        return false;
    }
    memcpy(m->body, body, m->hdr.len);
    m->body[m->hdr.len] = '\0';
    f->seen += sizeof(m->hdr) + m->hdr.len;
    return true;
}

void fake_run(struct server *s)
{
    while (server_run(s)) {
    }
}

static void bars_for_nuls(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\0') {
            text[i] = '|';
        }
    }
}

const char *fake_ask(struct fake *f, uint32_t type, uint32_t tx, const char *text)
{
    static struct fake_msg ring[8];
    static unsigned int at;
    struct fake_msg *m = &ring[at++ % 8];
    size_t len = strlen(text);
    char *copy = mem_strdup(text);

    for (size_t i = 0; i < len; i++) {
        if (copy[i] == '|') {
            copy[i] = '\0';
        }
    }
    fake_send(f, type, tx, copy, len);
    free(copy);
    fake_run(f->conn->server);
    if (!fake_next(f, m)) {
        return "no answer";
    }
    if (m->hdr.type == XS_ERROR) {
        return m->body;
    }
    if (m->hdr.type != type || m->hdr.req_id != 77) {
        return "answer to another request";
    }
    bars_for_nuls(m->body, m->hdr.len);
    return m->body;
}

const char *fake_event(struct fake *f)
{
    static struct fake_msg m;

    fake_run(f->conn->server);
    if (!fake_next(f, &m)) {
        return "";
    }
    if (m.hdr.type != XS_WATCH_EVENT) {
        return "not an event";
    }
    bars_for_nuls(m.body, m.hdr.len - 1);
    return m.body;
}

const char *fake_check(struct fake *control)
{
    return fake_ask(control, XS_CONTROL, 0, "check|");
}

int fake_main(const char *name, void (*add_suites)(void))
{
    unsigned int failed;

    if (CU_initialize_registry() != CUE_SUCCESS) {
        return EXIT_FAILURE;
    }
    add_suites();
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures();
    printf("%s: %u suites, %u tests, %u asserts, %u failed\n", name, CU_get_number_of_suites_run(),
           CU_get_number_of_tests_run(), CU_get_number_of_asserts(), failed);
    if (CU_get_number_of_tests_run() == 0) {
        failed = 1;
    }
    CU_cleanup_registry();
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
