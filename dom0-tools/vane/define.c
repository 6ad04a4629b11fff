/* SPDX-License-Identifier: MIT */
/*
 * Commands about definitions: define, undefine, dumpxml, defined, autostart, start.
 *
 * A definition is a guest's XML file kept under its name in one folder, so that a guest can be
 * started by name and marked to be started with the host. The mark is a link of the same name in
 * the folder autostart/ below. Nothing else knows of definitions: files put there by hand or by a
 * package are as good. A running guest does not change with its definition.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dom0-tools/base/file.h"
#include "dom0-tools/config/config.h"
#include "dom0-tools/config/values.h"
#include "dom0-tools/vane/life.h"
#include "dom0-tools/vane/vane.h"

#define DEFAULT_FOLDER "/etc/paravane/guests"
#define SUFFIX ".xml"
#define PATH_BYTES 4096

/* --- names and paths --------------------------------------------------------------------- */

static const char *folder_of(const struct vane_args *args)
{
    const char *folder = vane_option(args, 'D');

    return folder != NULL ? folder : DEFAULT_FOLDER;
}

/* Where a definition, or with `below` its mark, stands; of a name that can be one. */
static int path_of(const char *folder, const char *below, const char *name, char path[PATH_BYTES],
                   struct err *err)
{
    assert(value_domain_name(name));
    if (snprintf(path, PATH_BYTES, "%s/%s%s" SUFFIX, folder, below, name) >= PATH_BYTES) {
        return err_set(err, ENAMETOOLONG, "%s: too long a name", folder);
    }
    return 0;
}

/* As path_of(), for a definition that must exist. */
static int find(const struct vane_args *args, const char *name, char path[PATH_BYTES],
                struct err *err)
{
    int rc = path_of(folder_of(args), "", name, path, err);

    if (rc == 0 && access(path, F_OK) != 0) {
        rc = err_set(err, errno == ENOENT ? ESRCH : errno, "no guest %s is defined in %s", name,
                     folder_of(args));
    }
    return rc;
}

static int make_folder(const char *path, struct err *err)
{
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot make %s", path);
    }
    return 0;
}

static int report(int rc, const struct err *err)
{
    return rc == 0 ? VANE_OK : vane_fail(err);
}

/* --- define, undefine, dumpxml ----------------------------------------------------------- */

static int run_define(const struct vane_args *args)
{
    struct vane_config *config;
    struct err err = {0};
    char path[PATH_BYTES];
    size_t bytes;
    void *text;
    int rc = file_read(args->operands[0], CONFIG_MAX_FILE_BYTES, &text, &bytes, &err);

    if (rc != 0) {
        return vane_fail(&err);
    }
    rc = config_parse(args->operands[0], text, bytes, &config, &err);
    if (rc == 0) {
        rc = make_folder(folder_of(args), &err);
        rc = rc != 0 ? rc : path_of(folder_of(args), "", config->name, path, &err);
        rc = rc != 0 ? rc : file_write(path, text, bytes, &err);
        if (rc == 0) {
            printf("%s: defined\n", config->name);
        }
        config_free(config);
    }
    free(text);
    return report(rc, &err);
}

/* Takes the mark away; one that is not there is none to take. */
static int remove_mark(const struct vane_args *args, const char *name, struct err *err)
{
    char mark[PATH_BYTES];
    int rc = path_of(folder_of(args), "autostart/", name, mark, err);

    if (rc == 0 && unlink(mark) != 0 && errno != ENOENT) {
        rc = err_set_errno(err, errno, "%s", mark);
    }
    return rc;
}

static int run_undefine(const struct vane_args *args)
{
    const char *name = args->operands[0];
    struct err err = {0};
    char path[PATH_BYTES];
    int rc;

    if (!vane_operand_name(args, 0)) {
        return VANE_USAGE;
    }
    rc = find(args, name, path, &err);
    rc = rc != 0 ? rc : remove_mark(args, name, &err);
    if (rc == 0 && unlink(path) != 0) {
        rc = err_set_errno(&err, errno, "%s", path);
    }
    return report(rc, &err);
}

/* Where the configuration stands with which a guest was started. */
static int find_running(const char *name, char path[PATH_BYTES])
{
    struct err ignored = {0};
    struct life life;
    uint32_t domid;
    int rc = life_open(&life, &ignored);

    if (rc == 0) {
        rc = life_find(&life, name, &domid, &ignored);
        life_close(&life);
    }
    if (rc == 0) {
        life_monitor_path(domid, path);
        rc = access(path, R_OK) == 0 ? 0 : -errno;
    }
    return rc;
}

static int run_dumpxml(const struct vane_args *args)
{
    const char *name = args->operands[0];
    struct err err = {0};
    char path[PATH_BYTES];
    size_t bytes;
    void *text;
    int rc;

    if (!vane_operand_name(args, 0)) {
        return VANE_USAGE;
    }
    rc = find(args, name, path, &err);
    if (rc == -ESRCH && find_running(name, path) == 0) {
        rc = 0;
    }
    rc = rc != 0 ? rc : file_read(path, CONFIG_MAX_FILE_BYTES, &text, &bytes, &err);
    if (rc == 0) {
        fwrite(text, 1, bytes, stdout);
        free(text);
    }
    return report(rc, &err);
}

/* --- autostart --------------------------------------------------------------------------- */

static bool is_marked(const struct vane_args *args, const char *name)
{
    char mark[PATH_BYTES];

    return path_of(folder_of(args), "autostart/", name, mark, NULL) == 0 && access(mark, F_OK) == 0;
}

static int add_mark(const struct vane_args *args, const char *name, struct err *err)
{
    char folder[PATH_BYTES];
    char target[PATH_BYTES];
    char mark[PATH_BYTES];
    int rc = path_of(folder_of(args), "autostart/", name, mark, err);

    if (rc != 0) {
        return rc;
    }
    snprintf(folder, sizeof(folder), "%s", mark);
    *strrchr(folder, '/') = '\0';
    rc = make_folder(folder, err);
    if (rc == 0) {
        snprintf(target, sizeof(target), "../%.*s" SUFFIX, CONFIG_MAX_NAME_BYTES, name);
        if (symlink(target, mark) != 0 && errno != EEXIST) {
            rc = err_set_errno(err, errno, "%s", mark);
        }
    }
    return rc;
}

static int run_autostart(const struct vane_args *args)
{
    const char *name = args->operands[0];
    struct err err = {0};
    char path[PATH_BYTES];
    int rc;

    if (!vane_operand_name(args, 0)) {
        return VANE_USAGE;
    }
    rc = find(args, name, path, &err);
    if (rc == 0) {
        rc = vane_option(args, 'o') != NULL ? remove_mark(args, name, &err)
                                            : add_mark(args, name, &err);
    }
    return report(rc, &err);
}

/* --- defined ----------------------------------------------------------------------------- */

static int is_definition(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);
    char name[CONFIG_MAX_NAME_BYTES + 1];

    if (bytes <= strlen(SUFFIX) || bytes - strlen(SUFFIX) >= sizeof(name) ||
        strcmp(entry->d_name + bytes - strlen(SUFFIX), SUFFIX) != 0) {
        return 0;
    }
    memcpy(name, entry->d_name, bytes - strlen(SUFFIX));
    name[bytes - strlen(SUFFIX)] = '\0';
    return value_domain_name(name);
}

/* Calls body for each definition, by name. */
static int for_each(const struct vane_args *args,
                    void (*body)(const struct vane_args *args, const char *name, void *context),
                    void *context, struct err *err)
{
    struct dirent **entries;
    int count = scandir(folder_of(args), &entries, is_definition, alphasort);

    if (count < 0) {
        /* A host without definitions needs no folder for them. */
        return errno == ENOENT && vane_option(args, 'D') == NULL
                   ? 0
                   : err_set_errno(err, errno, "%s", folder_of(args));
    }
    for (int i = 0; i < count; i++) {
        entries[i]->d_name[strlen(entries[i]->d_name) - strlen(SUFFIX)] = '\0';
        body(args, entries[i]->d_name, context);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

/* One of the two takes the lines. */
struct lines {
    struct json_object *array;
    struct vane_table *table;
};

static void add_line(const struct vane_args *args, const char *name, void *context)
{
    const struct lines *lines = context;
    bool marked = is_marked(args, name);

    if (lines->array != NULL) {
        struct json_object *one = json_object_new_object();

        json_object_object_add(one, "name", json_object_new_string(name));
        json_object_object_add(one, "autostart", json_object_new_boolean(marked));
        json_object_array_add(lines->array, one);
        return;
    }
    vane_table_cell(lines->table, "%s", name);
    vane_table_cell(lines->table, "%s", marked ? "yes" : "no");
}

static int run_defined(const struct vane_args *args)
{
    static const char *const headings[] = {"NAME", "AUTOSTART"};
    struct lines lines = {
        .array = args->json ? json_object_new_array() : NULL,
        .table = args->json ? NULL : vane_table_new(headings, 2),
    };
    struct err err = {0};

    if (for_each(args, add_line, &lines, &err) != 0) {
        json_object_put(lines.array);
        vane_table_free(lines.table);
        return vane_fail(&err);
    }
    return args->json ? vane_print_json(lines.array) : vane_table_print(lines.table);
}

/* --- start ------------------------------------------------------------------------------- */

/* The marked guests' turns, one after the other; the first failure's status is the command's. */
static void start_marked(const struct vane_args *args, const char *name, void *context)
{
    int *status = context;
    struct err err = {0};
    char path[PATH_BYTES];
    int one;

    if (!is_marked(args, name)) {
        return;
    }
    one = find(args, name, path, &err) == 0 ? life_run_create(args, path) : vane_fail(&err);
    *status = *status != VANE_OK ? *status : one;
}

static int run_start(const struct vane_args *args)
{
    bool marked = vane_option(args, 'a') != NULL;
    struct err err = {0};
    char path[PATH_BYTES];
    int status = VANE_OK;

    if (marked != (args->count == 0)) {
        vane_error(
            "start: either the name of a guest or --autostarted is needed (try: vane help start)");
        return VANE_USAGE;
    }
    if (marked) {
        return for_each(args, start_marked, &status, &err) == 0 ? status : vane_fail(&err);
    }
    if (!vane_operand_name(args, 0)) {
        return VANE_USAGE;
    }
    return find(args, args->operands[0], path, &err) == 0 ? life_run_create(args, path)
                                                          : vane_fail(&err);
}

/* --- table ------------------------------------------------------------------------------- */

#define FOLDER_OPTION                                                                              \
    {                                                                                              \
        'D', "directory", "DIR", "where definitions are (default " DEFAULT_FOLDER ")"              \
    }

static const struct vane_option folder_options[] = {
    FOLDER_OPTION,
    {0, NULL, NULL, NULL},
};

static const struct vane_option autostart_options[] = {
    {'o', "off", NULL, "do not start it with the host any more"},
    FOLDER_OPTION,
    {0, NULL, NULL, NULL},
};

static const struct vane_option start_options[] = {
    {'a', "autostarted", NULL, "start all guests that are marked to start with the host"},
    {'c', "console", NULL, "attach to the guest's console afterwards"},
    {'p', "paused", NULL, "leave the guest paused"},
    {'n', "dry-run", NULL, "test everything, create nothing"},
    {'u', "unsafe", NULL, "give it its PCI devices although it can reach all memory with them"},
    {'t', "timeout", "SECONDS", "longest time to wait for its back ends (default 120)"},
    FOLDER_OPTION,
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_define[] = {
    {
        .name = "define",
        .operands = "FILE",
        .summary = "keep a guest's XML file under its name, to be started by name",
        .details = "The file is tested as by validate. A definition of the same name is replaced; "
                   "a running guest goes on as it is.",
        .min_operands = 1,
        .max_operands = 1,
        .options = folder_options,
        .run = run_define,
    },
    {
        .name = "undefine",
        .operands = "NAME",
        .summary = "forget a guest's definition; a running guest goes on",
        .min_operands = 1,
        .max_operands = 1,
        .options = folder_options,
        .run = run_undefine,
    },
    {
        .name = "defined",
        .operands = "",
        .summary = "list the guests that are defined",
        .json = true,
        .options = folder_options,
        .run = run_defined,
    },
    {
        .name = "dumpxml",
        .operands = "NAME",
        .summary = "print a guest's definition",
        .details = "Of a guest that runs without a definition, what it was started with.",
        .min_operands = 1,
        .max_operands = 1,
        .options = folder_options,
        .run = run_dumpxml,
    },
    {
        .name = "autostart",
        .operands = "NAME",
        .summary = "mark a defined guest to be started with the host",
        .min_operands = 1,
        .max_operands = 1,
        .options = autostart_options,
        .run = run_autostart,
    },
    {
        .name = "start",
        .operands = "[NAME]",
        .summary = "start a defined guest, or all that start with the host",
        .details = "As create does from a file. With --autostarted, a guest that cannot be "
                   "started does not keep the others from it; the first failure's status is the "
                   "exit status.",
        .max_operands = 1,
        .options = start_options,
        .run = run_start,
    },
    {.name = NULL},
};
