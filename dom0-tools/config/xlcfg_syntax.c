/* SPDX-License-Identifier: MIT */
/*
 * The syntax of xl's files:
 *
 *   file:    lines of  KEY = VALUE  or  KEY += VALUE, ended by a newline or ';'
 *   KEY:     a letter or '_', then letters, digits and '_'
 *   VALUE:   a number, a string in ' or ", or a list: [ VALUE, VALUE, ... ], over several lines
 *   '#' begins a comment that ends with its line
 *
 * One pass over bytes with a NUL behind them, of which nothing is kept: values are copied. `+=`
 * appends to a list, or to a string.
 */
#include <ctype.h>
#include <errno.h>
#include <libxml/xmlstring.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/xlcfg_internal.h"

struct scanner {
    struct xl_file *file;
    const char *at; /* next byte; a NUL is the end */
    unsigned int line;
};

int xl_error(struct xl_file *file, unsigned int line, const char *format, ...)
{
    char text[ERR_TEXT_BYTES];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    return err_set(file->err, EBADMSG, "%s:%u: %s", file->name, line, text);
}

int xl_no_memory(struct xl_file *file)
{
    return err_set(file->err, ENOMEM, "%s: no memory", file->name);
}

/* Skips blanks and comments, with `lines` newlines too. */
static void skip(struct scanner *s, bool lines)
{
    for (;;) {
        if (*s->at == '#') {
            s->at += strcspn(s->at, "\n");
        } else if (*s->at == ' ' || *s->at == '\t' || *s->at == '\r') {
            s->at++;
        } else if (lines && *s->at == '\n') {
            s->at++;
            s->line++;
        } else {
            return;
        }
    }
}

static bool is_key_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* --- strings and numbers ----------------------------------------------------------------- */

/* One escaped byte behind a backslash. */
static int take_escape(struct scanner *s, char *byte)
{
    static const char names[] = "\\'\"ntrabfv";
    static const char values[] = "\\'\"\n\t\r\a\b\f\v";
    const char *found = *s->at != '\0' ? strchr(names, *s->at) : NULL;

    if (found != NULL) {
        *byte = values[found - names];
        s->at++;
        return 0;
    }
    return xl_error(s->file, s->line, "unknown escape '\\%.1s' in a string", s->at);
}

static int check_text(struct scanner *s, const char *text, size_t bytes)
{
    if (memchr(text, '\0', bytes) != NULL || !xmlCheckUTF8((const xmlChar *)text)) {
        return xl_error(s->file, s->line, "a string is not UTF-8 text");
    }
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)text[i] < ' ' && text[i] != '\t' && text[i] != '\n') {
            return xl_error(s->file, s->line, "a string has a control character");
        }
    }
    return 0;
}

static int take_string(struct scanner *s, struct xl_item *item)
{
    char quote = *s->at++;
    size_t longest = strcspn(s->at, "\n") + 1;
    size_t bytes = 0;
    char *text = malloc(longest);
    int rc = 0;

    if (text == NULL) {
        return xl_no_memory(s->file);
    }
    while (rc == 0 && *s->at != quote) {
        if (*s->at == '\0' || *s->at == '\n') {
            rc = xl_error(s->file, s->line, "a string has no end");
        } else if (*s->at == '\\') {
            s->at++;
            rc = take_escape(s, &text[bytes++]);
        } else {
            text[bytes++] = *s->at++;
        }
    }
    if (rc == 0) {
        s->at++;
        text[bytes] = '\0';
        rc = check_text(s, text, bytes);
    }
    if (rc != 0) {
        free(text);
        return rc;
    }
    *item = (struct xl_item){.text = text, .line = s->line};
    return 0;
}

static int take_number(struct scanner *s, struct xl_item *item)
{
    size_t bytes = 0;

    while (is_key_byte(s->at[bytes])) {
        bytes++;
    }
    *item = (struct xl_item){.text = strndup(s->at, bytes), .line = s->line};
    s->at += bytes;
    return item->text != NULL ? 0 : xl_no_memory(s->file);
}

/* --- values ------------------------------------------------------------------------------ */

static int add_item(struct scanner *s, struct xl_setting *setting)
{
    struct xl_item *larger;
    int rc;

    if (setting->count == XL_MAX_ITEMS) {
        return xl_error(s->file, s->line, "%s: there are more than %d items", setting->key,
                        XL_MAX_ITEMS);
    }
    larger = realloc(setting->items, (setting->count + 1) * sizeof(*larger));
    if (larger == NULL) {
        return xl_no_memory(s->file);
    }
    setting->items = larger;
    if (*s->at == '\'' || *s->at == '"') {
        rc = take_string(s, &larger[setting->count]);
    } else if (isdigit((unsigned char)*s->at)) {
        rc = take_number(s, &larger[setting->count]);
    } else if (*s->at == '[') {
        rc = xl_error(s->file, s->line, "%s: a list within a list", setting->key);
    } else {
        rc = xl_error(s->file, s->line, "%s: a value is a number, a string in quotes or a list",
                      setting->key);
    }
    setting->count += rc == 0 ? 1 : 0;
    return rc;
}

static int take_list(struct scanner *s, struct xl_setting *setting)
{
    unsigned int begin = s->line;
    int rc = 0;

    s->at++;
    skip(s, true);
    while (rc == 0 && *s->at != ']') {
        if (*s->at == '\0') {
            return xl_error(s->file, begin, "%s: the list has no end", setting->key);
        }
        rc = add_item(s, setting);
        if (rc == 0) {
            skip(s, true);
            if (*s->at == ',') {
                s->at++;
                skip(s, true);
            } else if (*s->at != ']' && *s->at != '\0') {
                rc = xl_error(s->file, s->line, "%s: ',' or ']' is missing in the list",
                              setting->key);
            }
        }
    }
    s->at += rc == 0 ? 1 : 0;
    return rc;
}

/* Appends a string to the one there is. */
static int join(struct scanner *s, struct xl_setting *setting)
{
    char *both;

    if (asprintf(&both, "%s%s", setting->items[0].text, setting->items[1].text) < 0) {
        return xl_no_memory(s->file);
    }
    free(setting->items[0].text);
    free(setting->items[1].text);
    setting->items[0].text = both;
    setting->count = 1;
    return 0;
}

static int take_value(struct scanner *s, struct xl_setting *setting, bool append)
{
    bool is_list = *s->at == '[';
    int rc;

    if (append && setting->is_list != is_list) {
        return xl_error(s->file, s->line, "%s: a list and a string cannot be joined", setting->key);
    }
    setting->is_list = is_list;
    rc = is_list ? take_list(s, setting) : add_item(s, setting);
    return rc == 0 && append && !is_list ? join(s, setting) : rc;
}

/* --- lines ------------------------------------------------------------------------------- */

static struct xl_setting *find(struct xl_file *file, const char *key, size_t bytes)
{
    for (size_t i = 0; i < file->count; i++) {
        if (strncmp(file->settings[i].key, key, bytes) == 0 &&
            file->settings[i].key[bytes] == '\0') {
            return &file->settings[i];
        }
    }
    return NULL;
}

/* The setting a line is about: a new one, or with `+=` the one there is. */
static int setting_of(struct scanner *s, const char *key, size_t bytes, bool append,
                      struct xl_setting **out)
{
    struct xl_file *file = s->file;

    *out = find(file, key, bytes);
    if (append != (*out != NULL)) {
        return append
                   ? xl_error(file, s->line, "%.*s: nothing is there to append to", (int)bytes, key)
                   : xl_error(file, s->line, "%.*s: is set again, after line %u", (int)bytes, key,
                              (*out)->line);
    }
    if (append) {
        return 0;
    }
    if (file->count == XL_MAX_SETTINGS) {
        return xl_error(file, s->line, "there are more than %d settings", XL_MAX_SETTINGS);
    }
    *out = &file->settings[file->count];
    **out = (struct xl_setting){.key = strndup(key, bytes), .line = s->line};
    if ((*out)->key == NULL) {
        return xl_no_memory(file);
    }
    file->count++;
    return 0;
}

static int take_line(struct scanner *s)
{
    const char *key = s->at;
    struct xl_setting *setting;
    size_t bytes = 0;
    bool append;
    int rc;

    while (bytes < 64 && is_key_byte(key[bytes])) {
        bytes++;
    }
    if (bytes == 0 || isdigit((unsigned char)key[0])) {
        return xl_error(s->file, s->line, "a line must begin with the name of a setting");
    }
    s->at += bytes;
    skip(s, false);
    append = s->at[0] == '+' && s->at[1] == '=';
    if (!append && *s->at != '=') {
        return xl_error(s->file, s->line, "'=' is missing after '%.*s'", (int)bytes, key);
    }
    s->at += append ? 2 : 1;
    skip(s, false);
    rc = setting_of(s, key, bytes, append, &setting);
    rc = rc != 0 ? rc : take_value(s, setting, append);
    if (rc != 0) {
        return rc;
    }
    skip(s, false);
    if (*s->at != '\0' && *s->at != '\n' && *s->at != ';') {
        return xl_error(s->file, s->line, "%s: there is more behind the value", setting->key);
    }
    return 0;
}

int xl_open(struct xl_file *file, const char *data, size_t bytes)
{
    struct scanner s = {.file = file, .at = data, .line = 1};
    int rc = 0;

    file->count = 0;
    if (memchr(data, '\0', bytes) != NULL) {
        return err_set(file->err, EBADMSG, "%s: is no text file", file->name);
    }
    skip(&s, true);
    while (rc == 0 && *s.at != '\0') {
        if (*s.at == ';') {
            s.at++;
        } else {
            rc = take_line(&s);
        }
        skip(&s, true);
    }
    return rc;
}

void xl_close(struct xl_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        for (size_t item = 0; item < file->settings[i].count; item++) {
            free(file->settings[i].items[item].text);
        }
        free(file->settings[i].items);
        free(file->settings[i].key);
    }
    file->count = 0;
}

bool xlcfg_is_xml(const char *data, size_t bytes)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t at = bytes >= 3 && memcmp(data, mark, 3) == 0 ? 3 : 0;

    while (at < bytes && strchr(" \t\r\n", data[at]) != NULL && data[at] != '\0') {
        at++;
    }
    return at < bytes && data[at] == '<';
}
