// SPDX-License-Identifier: MIT
/*
 * hypfs_op: a small tree of texts about the hypervisor that the control domain can read, by the
 * paths and in the format of stock tools. Directories are two levels deep and follow from the rows
 * below; nothing can be written. All of it is constant after start-up; no lock.
 */
#include "base/format.h"
#include "base/protection.h"
#include "base/string.h"
#include "core/guest_access.h"
#include "core/hypercall.h"

#define PATH_BYTES 64 /* no path of ours is longer */

struct row {
    const char *folder, *name, *text;
};
static const struct row own[] = {
    {"buildinfo", "changeset", "paravane"},
    {"buildinfo", "compiler", __VERSION__},
};
static const char *const folders[] = {"/buildinfo", "/protection"};

/* What a read answers. A list entry has the rest of its head behind the direntry: 2 bytes. */
#define LIST_HEAD offsetof(struct xen_hypfs_dirlistentry, name)
struct reply {
    struct xen_hypfs_direntry head;
    char content[PROTECTIONS_MAX * 32 + 64] __attribute__((aligned(4)));
};
_Static_assert(LIST_HEAD + sizeof(protections[0].name) <= 32, "a list entry is larger");
_Static_assert(sizeof(protections[0].state) <= sizeof(((struct reply *)0)->content), "a text is");

static bool get_row(unsigned i, struct row *row)
{
    if (i < ARRAY_SIZE(own)) {
        *row = own[i];
        return true;
    }
    i -= ARRAY_SIZE(own);
    if (i >= protection_count) {
        return false;
    }
    *row = (struct row){"protection", protections[i].name, protections[i].state};
    return true;
}

/* Append an entry to the listing in r. `previous`, where the last one is, moves on. */
static void list(struct reply *r, uint32_t *previous, uint8_t type, const char *name,
                 uint32_t content_bytes)
{
    uint32_t at = r->head.content_len;
    struct xen_hypfs_dirlistentry *entry = (void *)&r->content[at];
    if (at) {
        ((struct xen_hypfs_dirlistentry *)&r->content[*previous])->off_next =
            (uint16_t)(at - *previous);
    }
    *entry = (struct xen_hypfs_dirlistentry){.e = {.type = type, .content_len = content_bytes}};
    memcpy(entry->name, name, strlen(name) + 1);
    *previous = at;
    r->head.content_len = (uint32_t)ROUND_UP(at + LIST_HEAD + strlen(name) + 1, 4);
}

/* `path` without the slash in front of it is a row's folder, or leads to the row. */
static int read_row_or_folder(struct reply *r, const char *path)
{
    struct row row;
    uint32_t previous = 0;
    int rc = -ENOENT;
    memset(r, 0, sizeof(*r));
    for (unsigned i = 0; get_row(i, &row); i++) {
        size_t length = strlen(row.folder);
        uint32_t bytes = (uint32_t)strlen(row.text) + 1;
        if (memcmp(path, row.folder, length)) {
            continue;
        }
        if (!path[length]) {
            list(r, &previous, XEN_HYPFS_TYPE_STRING, row.name, bytes);
            rc = 0;
        } else if (path[length] == '/' && !strcmp(path + length + 1, row.name)) {
            r->head =
                (struct xen_hypfs_direntry){.type = XEN_HYPFS_TYPE_STRING, .content_len = bytes};
            memcpy(r->content, row.text, bytes);
            return 0;
        }
    }
    return rc;
}

static int read_path(struct reply *r, const char path[PATH_BYTES])
{
    uint32_t bytes[ARRAY_SIZE(folders)], previous = 0;
    if (path[1]) {
        return read_row_or_folder(r, path + 1);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(folders); i++) {
        bytes[i] = read_row_or_folder(r, folders[i] + 1) ? 0 : r->head.content_len;
    }
    memset(r, 0, sizeof(*r));
    for (unsigned i = 0; i < ARRAY_SIZE(folders); i++) {
        list(r, &previous, XEN_HYPFS_TYPE_DIR, folders[i] + 1, bytes[i]);
    }
    return 0;
}

long hc_hypfs_op(struct hypercall *hc)
{
    char path[PATH_BYTES] = "";
    struct reply r;
    uint64_t length = hc->arg[2], room = hc->arg[4];
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if ((uint32_t)hc->arg[0] == XEN_HYPFS_OP_get_version) {
        return hc->arg[1] || length || hc->arg[3] || room ? -EINVAL : XEN_HYPFS_VERSION;
    }
    if (!length || length > XEN_HYPFS_MAX_PATHLEN) {
        return -EINVAL;
    }
    if (guest_read(path, hc->arg[1], MIN(length, sizeof(path) - 1))) {
        return -EFAULT;
    }
    if (path[0] != '/' || strlen(path) != MIN(length, sizeof(path)) - 1) {
        return -EINVAL;
    }
    int rc = read_path(&r, path);
    if (rc) {
        return rc;
    }
    switch ((uint32_t)hc->arg[0]) {
    case XEN_HYPFS_OP_read:
        break;
    case XEN_HYPFS_OP_write_contents:
        return -EACCES;
    default:
        return -EOPNOTSUPP;
    }
    if (room < sizeof(r.head)) {
        return -EINVAL;
    }
    /* ABI: the head comes back with -ENOBUFS, too, for the caller to learn the length. */
    bool fits = room - sizeof(r.head) >= r.head.content_len;
    size_t bytes = sizeof(r.head) + (fits ? r.head.content_len : 0);
    return guest_write(hc->arg[3], &r, bytes) ?: (fits ? 0 : -ENOBUFS);
}
