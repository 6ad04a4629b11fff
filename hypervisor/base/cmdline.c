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

enum option_type { STR, BOOL, AUTO, UINT, SIZE };

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

const char *cmdline_text = "";
static char rejected[REJECTED_MAX][CMDLINE_STR_BYTES];
static unsigned rejected_count;

bool cmdline_parse_size(const char *s, uint64_t *bytes)
{
    static const char suffixes[] = "bkmgt";
    const char *end;
    uint64_t n = parse_u64(s, &end);
    const char *suffix = strchr(suffixes, *end ? *end | 0x20 : 'k');
    return end != s && suffix && (!*end || !end[1]) &&
           checked_mul(n, 1UL << (10 * (suffix - suffixes)), bytes);
}

static bool parse_bool(const char *value, bool *result)
{
    enum { NO_WORDS = 4 };
    static const char *const words[] = {"0", "no", "off", "false", "", "1", "yes", "on", "true"};
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        if (!strcmp(value, words[i])) {
            *result = i >= NO_WORDS;
            return true;
        }
    }
    return false;
}

static bool parse_auto(const char *value, enum option_auto *result)
{
    bool yes;
    if (parse_bool(value, &yes)) {
        *result = yes ? OPTION_YES : OPTION_NO;
        return true;
    }
    if (!strcmp(value, "auto")) {
        *result = OPTION_AUTO;
        return true;
    }
    return false;
}

static bool parse_uint(const char *value, uint64_t *result)
{
    const char *end;
    uint64_t n = parse_u64(value, &end);
    bool good = end != value && !*end;
    *result = good ? n : *result;
    return good;
}

/* A word starts with the name of an option; the word may have - for _. */
static bool same_name(const char *word, const char *name)
{
    while (*name && (*word == *name || (*word == '-' && *name == '_'))) {
        word++;
        name++;
    }
    return !*name;
}

/* One word "name" or "name=value". */
static bool parse_word(const char *word)
{
    const char *equals = strchr(word, '=');
    const char *value = equals ? equals + 1 : "";
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    for (unsigned i = 0; i < ARRAY_SIZE(options); i++) {
        const struct option *o = &options[i];
        void *field = (char *)&cmdline + o->offset;
        if (strlen(o->name) == length && same_name(word, o->name)) {
            return o->type == STR
                       ? format(field, CMDLINE_STR_BYTES, "%s", value) < CMDLINE_STR_BYTES
                   : o->type == BOOL ? parse_bool(value, field)
                   : o->type == AUTO ? parse_auto(value, field)
                   : o->type == UINT ? parse_uint(value, field)
                                     : cmdline_parse_size(value, field);
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
    cmdline_text = line;
    char word[2 * CMDLINE_STR_BYTES];
    while ((line = next_word(line, word, sizeof(word)))) {
        if (!parse_word(word) && rejected_count < REJECTED_MAX) {
            (void)format(rejected[rejected_count++], CMDLINE_STR_BYTES, "%s", word);
        }
    }
}

void cmdline_report(void)
{
    for (unsigned i = 0; i < rejected_count; i++) {
        printk("Option not understood: %s\n", rejected[i]);
    }
}
