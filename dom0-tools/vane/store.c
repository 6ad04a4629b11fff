/* SPDX-License-Identifier: MIT */
/*
 * Commands about the store: store ls, read, write, watch, quota.
 *
 * They talk to the daemon alone and need no hypervisor. What guests have written is made harmless
 * before it reaches a terminal, unless --raw asks for the bytes.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xenstore.h>

#include "dom0-tools/config/config.h"
#include "dom0-tools/config/values.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/vane/vane.h"

#define DEPTH_MAX 64u
#define EVENTS_MAX 1000000000ul
#define QUOTA_BYTES 4096

/* Opens the store. Without the daemon's socket libxenstore would wait on the kernel's device for
 * ever. */
static struct xs_handle *open_store(struct err *err)
{
    struct stat status;
    struct xs_handle *xs = NULL;

    errno = ENOENT;
    if (stat(xs_daemon_socket(), &status) == 0) {
        xs = xs_open(0);
    }
    if (xs == NULL) {
        err_set(err, errno == EACCES ? EACCES : ENODEV,
                "cannot reach the store daemon (%s): is this the control domain, does xenstored "
                "run, and are you root?",
                strerror(errno));
    }
    return xs;
}

/* Whether libxenstore and the protocol can carry it as a path, or a special watch. */
static bool is_path(const char *text)
{
    size_t bytes = strlen(text);

    if (bytes == 0 || bytes >= NODE_PATH_BYTES || (bytes > 1 && text[bytes - 1] == '/') ||
        strstr(text, "//") != NULL || (text[0] != '/' && text[0] != '@')) {
        return false;
    }
    return strspn(text + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-/_@") ==
           bytes - 1;
}

static int path_error(const struct vane_args *args, const char *path)
{
    vane_error("%s: '%s' is no path of the store, such as /local/domain/0/name",
               args->command->name, path);
    return VANE_USAGE;
}

/* A value that cannot drive a terminal. */
static void print_value(const char *value, unsigned int bytes)
{
    for (unsigned int i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)value[i];

        putchar(c >= ' ' && c < 0x7f ? c : '?');
    }
}

static struct json_object *json_of_value(const char *value, unsigned int bytes)
{
    char *text = malloc(bytes + 1u);
    struct json_object *out;

    /* JSON is UTF-8; other bytes have no place in it. */
    for (unsigned int i = 0; text != NULL && i < bytes; i++) {
        text[i] = (char)((unsigned char)value[i] < 0x80 ? value[i] : '?');
    }
    out = json_object_new_string_len(text != NULL ? text : "", text != NULL ? (int)bytes : 0);
    free(text);
    return out;
}

/* --- ls ---------------------------------------------------------------------------------- */

struct listing {
    struct xs_handle *xs;
    bool recursive;
    struct json_object *array; /* with --json */
};

static void list_node(const struct listing *listing, const char *path, unsigned int depth)
{
    struct node node = node_at(listing->xs, XBT_NULL, "%s", path);
    unsigned int count;
    char **names = node_list(&node, &count);

    for (unsigned int i = 0; names != NULL && i < count; i++) {
        const char *slash = strcmp(path, "/") == 0 ? "" : "/";
        struct node child = node_at(listing->xs, XBT_NULL, "%s%s%s", path, slash, names[i]);
        unsigned int bytes = 0;
        char *value = xs_read(listing->xs, XBT_NULL, child.path, &bytes);

        if (value == NULL) {
            continue; /* gone since */
        }
        if (listing->array != NULL) {
            struct json_object *one = json_object_new_object();

            json_object_object_add(one, "path", json_object_new_string(child.path));
            json_object_object_add(one, "value", json_of_value(value, bytes));
            json_object_array_add(listing->array, one);
        } else {
            printf("%s = \"", listing->recursive ? child.path : names[i]);
            print_value(value, bytes);
            puts("\"");
        }
        free(value);
        if (listing->recursive && depth < DEPTH_MAX) {
            list_node(listing, child.path, depth + 1);
        }
    }
    free(names);
}

static int run_ls(const struct vane_args *args)
{
    const char *path = args->count > 0 ? args->operands[0] : "/";
    struct listing listing = {.recursive = vane_option(args, 'r') != NULL};
    struct err err = {0};
    struct node node;

    if (!is_path(path) || path[0] == '@') {
        return path_error(args, path);
    }
    listing.xs = open_store(&err);
    if (listing.xs == NULL) {
        return vane_fail(&err);
    }
    node = node_at(listing.xs, XBT_NULL, "%s", path);
    if (!node_exists(&node)) {
        err_set_errno(&err, errno, "%s", path);
        xs_close(listing.xs);
        return vane_fail(&err);
    }
    listing.array = args->json ? json_object_new_array() : NULL;
    list_node(&listing, path, 0);
    xs_close(listing.xs);
    return args->json ? vane_print_json(listing.array) : VANE_OK;
}

/* --- read, write ------------------------------------------------------------------------- */

static int run_read(const struct vane_args *args)
{
    const char *path = args->operands[0];
    unsigned int bytes = 0;
    struct err err = {0};
    struct xs_handle *xs;
    int status = VANE_OK;
    char *value;

    if (!is_path(path) || path[0] == '@') {
        return path_error(args, path);
    }
    xs = open_store(&err);
    if (xs == NULL) {
        return vane_fail(&err);
    }
    value = xs_read(xs, XBT_NULL, path, &bytes);
    if (value == NULL) {
        err_set_errno(&err, errno, "%s", path);
    } else if (args->json) {
        status = vane_print_json(json_of_value(value, bytes));
    } else if (vane_option(args, 'r') != NULL) {
        fwrite(value, 1, bytes, stdout);
    } else {
        print_value(value, bytes);
        putchar('\n');
    }
    free(value);
    xs_close(xs);
    return err.number == 0 ? status : vane_fail(&err);
}

static int run_write(const struct vane_args *args)
{
    const char *path = args->operands[0];
    const char *value = args->operands[1];
    struct err err = {0};
    struct xs_handle *xs;

    if (!is_path(path) || path[0] == '@') {
        return path_error(args, path);
    }
    if (strlen(value) >= NODE_VALUE_BYTES - NODE_PATH_BYTES) {
        vane_error("store write: the value is longer than %d bytes",
                   NODE_VALUE_BYTES - NODE_PATH_BYTES - 1);
        return VANE_USAGE;
    }
    xs = open_store(&err);
    if (xs == NULL) {
        return vane_fail(&err);
    }
    if (!xs_write(xs, XBT_NULL, path, value, (unsigned int)strlen(value))) {
        err_set_errno(&err, errno, "%s", path);
    }
    xs_close(xs);
    return err.number == 0 ? VANE_OK : vane_fail(&err);
}

/* --- watch ------------------------------------------------------------------------------- */

/* Prints changes until there have been `most`. Returns: 0, or -errno when the store has gone. */
static int follow(struct xs_handle *xs, unsigned long most, bool json)
{
    unsigned long seen = 0;

    while (seen < most) {
        unsigned int bytes;
        unsigned int count;
        char **event = xs_read_watch(xs, &count);

        if (event == NULL) {
            return -errno;
        }
        bytes = (unsigned int)strlen(event[XS_WATCH_PATH]);
        if (json) {
            (void)!vane_print_json(json_of_value(event[XS_WATCH_PATH], bytes));
        } else {
            print_value(event[XS_WATCH_PATH], bytes);
            putchar('\n');
        }
        free(event);
        seen++;
        if (fflush(stdout) != 0) {
            return -EPIPE;
        }
    }
    return 0;
}

/* Newer stores have finer ones below these, for one domain. */
static bool is_special(const char *path)
{
    static const char *const names[] = {"@introduceDomain", "@releaseDomain"};
    bool found = false;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !found; i++) {
        size_t bytes = strlen(names[i]);

        found = strncmp(path, names[i], bytes) == 0 && (path[bytes] == '\0' || path[bytes] == '/');
    }
    return found;
}

static int run_watch(const struct vane_args *args)
{
    unsigned long most;
    struct err err = {0};
    struct xs_handle *xs;
    int rc = 0;

    if (vane_option_number(args, 'n', 1, EVENTS_MAX, ~0ul, &most) != 0) {
        return VANE_USAGE;
    }
    for (int i = 0; i < args->count; i++) {
        if (!is_path(args->operands[i])) {
            return path_error(args, args->operands[i]);
        }
        if (args->operands[i][0] == '@' && !is_special(args->operands[i])) {
            vane_error("store watch: no '%s' to watch, only @introduceDomain and @releaseDomain",
                       args->operands[i]);
            return VANE_USAGE;
        }
    }
    xs = open_store(&err);
    if (xs == NULL) {
        return vane_fail(&err);
    }
    for (int i = 0; i < args->count && rc == 0; i++) {
        if (!xs_watch(xs, args->operands[i], args->operands[i])) {
            rc = err_set_errno(&err, errno, "%s", args->operands[i]);
        }
    }
    if (rc == 0) {
        rc = follow(xs, most, args->json);
        if (rc != 0) {
            err_set_errno(&err, -rc, "the store does not answer any more");
        }
    }
    xs_close(xs);
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

/* --- quota ------------------------------------------------------------------------------- */

/* Number of the domain that is called `who`, as text for the daemon. */
static int domain_number(struct xs_handle *xs, const char *who, char number[16], struct err *err)
{
    struct node root = node_at(xs, XBT_NULL, "/local/domain");
    uint64_t value;
    unsigned int count;
    char **ids;
    bool found = false;

    if (value_number(who, &value) && value < 65536) {
        snprintf(number, 16, "%u", (unsigned int)value);
        return 0;
    }
    ids = node_list(&root, &count);
    for (unsigned int i = 0; ids != NULL && i < count && !found; i++) {
        struct node domain = node_at(xs, XBT_NULL, "/local/domain/%s", ids[i]);
        char name[CONFIG_MAX_NAME_BYTES + 1];

        found = node_read(&domain, "name", name, sizeof(name)) == 0 && strcmp(name, who) == 0;
        if (found) {
            snprintf(number, 16, "%.15s", ids[i]);
        }
    }
    free(ids);
    return found ? 0 : err_set(err, ESRCH, "there is no domain %s", who);
}

/* Puts words together as the daemon wants them, each with its NUL. */
static size_t pack(char *to, size_t room, const char *const *words)
{
    size_t used = 0;

    for (; *words != NULL && used + strlen(*words) + 1 <= room; words++) {
        memcpy(to + used, *words, strlen(*words) + 1);
        used += strlen(*words) + 1;
    }
    return used;
}

/* Has the daemon show or change limits; its answer, to be freed. */
static char *ask_quota(struct xs_handle *xs, const char *const *words, struct err *err)
{
    char packed[256];
    size_t bytes = pack(packed, sizeof(packed), words);
    char *answer = xs_control_command(xs, "quota", packed, (unsigned int)bytes);

    if (answer == NULL) {
        err_set_errno(err, errno, "the store refuses");
    }
    return answer;
}

/* The daemon's table has a line for each limit: name, value, meaning. */
static int print_quota_json(char *answer)
{
    struct json_object *out = json_object_new_object();

    for (char *rest = NULL, *line = strtok_r(answer, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char name[32];
        unsigned long value;

        if (sscanf(line, "%31[a-z_] %lu", name, &value) == 2) {
            json_object_object_add(out, name, json_object_new_uint64(value));
        }
    }
    return vane_print_json(out);
}

/* A limit to set, as in "nodes=2000"; NULL value for none. Returns: whether it is well formed. */
static bool split_limit(const char *text, char name[32], const char **value)
{
    const char *equals = text != NULL ? strchr(text, '=') : NULL;
    uint64_t number;

    if (equals == NULL || equals == text || equals - text >= 32 ||
        !value_number(equals + 1, &number)) {
        return false;
    }
    snprintf(name, 32, "%.*s", (int)(equals - text), text);
    *value = equals + 1;
    return true;
}

static int run_quota(const struct vane_args *args)
{
    const char *limit = vane_option(args, 's');
    const char *words[5] = {NULL};
    size_t count = 0;
    struct err err = {0};
    struct xs_handle *xs;
    char number[16] = "";
    char name[32];
    char *answer = NULL;
    int status = VANE_OK;
    int rc = 0;

    if (limit != NULL) {
        words[count++] = "set";
        if (!split_limit(limit, name, &words[2])) {
            vane_error("store quota: a limit is set as in nodes=2000, not '%s'", limit);
            return VANE_USAGE;
        }
    }
    xs = open_store(&err);
    if (xs == NULL) {
        return vane_fail(&err);
    }
    if (args->count > 0) {
        rc = domain_number(xs, args->operands[0], number, &err);
        words[count] = number;
    }
    if (limit != NULL) {
        const char *value = words[2];

        count += args->count > 0 ? 1 : 0;
        words[count] = name;
        words[count + 1] = value;
    }
    answer = rc == 0 ? ask_quota(xs, words, &err) : NULL;
    if (answer == NULL && err.number == ENOENT && limit == NULL) {
        err_set(&err, ENOENT, "the store knows no domain %s", number);
    } else if (answer == NULL && err.number == ENOENT) { /* which of them, it does not tell */
        err_set(&err, ENOENT, "the store knows no limit %s (try: vane store quota)%s%s", name,
                *number != '\0' ? ", or no domain " : "", number);
    }
    xs_close(xs);
    if (answer == NULL) {
        return vane_fail(&err);
    }
    if (limit == NULL && args->json) {
        status = print_quota_json(answer);
    } else if (limit == NULL) {
        fputs(answer, stdout);
        putchar('\n');
    }
    free(answer);
    return status;
}

/* --- table ------------------------------------------------------------------------------- */

static const struct vane_option ls_options[] = {
    {'r', "recursive", NULL, "everything below, with whole paths"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option read_options[] = {
    {'r', "raw", NULL, "print every byte as it is, and no newline"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option watch_options[] = {
    {'n', "events", "N", "end after so many"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option quota_options[] = {
    {'s', "set", "LIMIT=N", "change a limit"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_store[] = {
    {
        .name = "store ls",
        .operands = "[PATH]",
        .summary = "list what stands below a node of the store",
        .max_operands = 1,
        .json = true,
        .options = ls_options,
        .run = run_ls,
    },
    {
        .name = "store read",
        .operands = "PATH",
        .summary = "print a node's value",
        .details = "What could drive a terminal is printed as '?'.",
        .min_operands = 1,
        .max_operands = 1,
        .json = true,
        .options = read_options,
        .run = run_read,
    },
    {
        .name = "store write",
        .operands = "PATH VALUE",
        .summary = "give a node a value, making it if need be",
        .min_operands = 2,
        .max_operands = 2,
        .run = run_write,
    },
    {
        .name = "store watch",
        .operands = "PATH...",
        .summary = "print the paths that change, a line each",
        .details = "Each watch begins with a line for its own path. @introduceDomain and "
                   "@releaseDomain tell of domains that come and go.",
        .min_operands = 1,
        .max_operands = 64,
        .json = true,
        .options = watch_options,
        .run = run_watch,
    },
    {
        .name = "store quota",
        .operands = "[DOMAIN]",
        .summary = "show or change what one domain may take of the store",
        .details = "Without DOMAIN, the limits of all domains that have none of their own.",
        .max_operands = 1,
        .json = true,
        .options = quota_options,
        .run = run_quota,
    },
    {.name = NULL},
};
