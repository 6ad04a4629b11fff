// SPDX-License-Identifier: MIT
/*
 * Parser of the hypervisor's command line. cmdline.def is the one list of options; this file turns
 * it into an array of rows and fills struct cmdline_options through their offsets. Runs before the
 * console exists, so complaints are kept until cmdline_report().
 */
#include "base/cmdline.h"

#include "base/checked.h"
#include "base/format.h"
#include "base/log.h"
#include "base/string.h"

#define REJECTED_MAX 8

enum option_type { STR, BOOL, UINT, SIZE };

static const struct option {
    const char *name;
    enum option_type type;
    size_t offset;
} options[] = {
#define OPT(name, type, fallback, doc) {#name, type, offsetof(struct cmdline_options, name)},
#include "base/cmdline.def"
#undef OPT
};

struct cmdline_options cmdline = {
#define OPT(name, type, fallback, doc) .name = fallback,
#include "base/cmdline.def"
#undef OPT
};

static char rejected[REJECTED_MAX][CMDLINE_STR_BYTES];
static unsigned rejected_count;

bool cmdline_parse_size(const char *s, uint64_t *bytes)
{
    static const char suffixes[] = "bkmgt";
    const char *end;
    uint64_t n = parse_u64(s, &end);
    unsigned power = 1;
    if (end == s) {
        return false;
    }
    if (*end) {
        const char *suffix = strchr(suffixes, *end | 0x20);
        if (!suffix || end[1]) {
            return false;
        }
        power = (unsigned)(suffix - suffixes);
    }
    return checked_mul(n, 1UL << (10 * power), bytes);
}

static bool parse_bool(const char *value, bool *result)
{
    static const char *const yes[] = {"", "1", "yes", "on", "true"};
    static const char *const no[] = {"0", "no", "off", "false"};
    for (unsigned i = 0; i < ARRAY_SIZE(yes); i++) {
        if (!strcmp(value, yes[i])) {
            *result = true;
            return true;
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
        if (!strcmp(value, no[i])) {
            *result = false;
            return true;
        }
    }
    return false;
}

static bool set_option(const struct option *option, const char *value)
{
    void *field = (char *)&cmdline + option->offset;
    switch (option->type) {
    case STR:
        return format(field, CMDLINE_STR_BYTES, "%s", value) < CMDLINE_STR_BYTES;
    case BOOL:
        return parse_bool(value, field);
    case UINT: {
        const char *end;
        uint64_t n = parse_u64(value, &end);
        if (end == value || *end) {
            return false;
        }
        *(uint64_t *)field = n;
        return true;
    }
    default:
        return cmdline_parse_size(value, field);
    }
}

/* One word "name" or "name=value"; it is changed. */
static bool parse_word(char *word)
{
    static char empty[1];
    char *value = strchr(word, '=');
    if (value) {
        *value++ = 0;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
        if (!strcmp(word, options[i].name)) {
            return set_option(&options[i], value ? value : empty);
        }
    }
    return false;
}

/* Copy the next word, without its quotes, to `word`; returns the rest of the line, NULL at its
 * end. */
static const char *next_word(const char *line, char *word, size_t bytes)
{
    while (*line == ' ' || *line == '\t') {
        line++;
    }
    if (!*line) {
        return NULL;
    }
    bool quoted = false;
    size_t used = 0;
    for (; *line && (quoted || (*line != ' ' && *line != '\t')); line++) {
        if (*line == '"') {
            quoted = !quoted;
        } else if (used + 1 < bytes) {
            word[used++] = *line;
        }
    }
    word[used] = 0;
    return line;
}

void cmdline_parse(const char *line)
{
    char word[2 * CMDLINE_STR_BYTES];
    char original[CMDLINE_STR_BYTES];
    while ((line = next_word(line, word, sizeof(word)))) {
        format(original, sizeof(original), "%s", word);
        if (!parse_word(word) && rejected_count < REJECTED_MAX) {
            memcpy(rejected[rejected_count++], original, sizeof(original));
        }
    }
}

void cmdline_report(void)
{
    for (unsigned i = 0; i < rejected_count; i++) {
        printk("Option not understood: %s\n", rejected[i]);
    }
}
