/* SPDX-License-Identifier: MIT */
/*
 * Walking the tree by tables; see xml.h.
 */
#include "dom0-tools/config/xml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int xml_error(struct xml_reader *reader, struct xml_node *node, const char *format, ...)
{
    char text[ERR_TEXT_BYTES];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    return err_set(reader->err, EBADMSG, "%s:%u: <%.64s>: %s", reader->file, node->line, node->name,
                   text);
}

/* --- parsing ----------------------------------------------------------------------------- */

int xml_open(struct xml_reader *reader, const char *file, const void *data, size_t bytes,
             unsigned int max_depth, struct err *err)
{
    *reader = (struct xml_reader){.file = file, .err = err, .target = reader->target};
    if (bytes == 0) {
        return err_set(err, EBADMSG, "%s: file is empty", file);
    }
    return xml_tree_parse(&reader->tree, file, data, bytes, max_depth, err);
}

void xml_close(struct xml_reader *reader)
{
    xml_tree_free(&reader->tree);
}

/* --- walking ----------------------------------------------------------------------------- */

static bool listed(const char *const *names, const char *name)
{
    for (; names != NULL && *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

static int check_attributes(struct xml_reader *reader, struct xml_node *node,
                            const struct xml_rule *rule)
{
    for (const struct xml_attribute *at = node->attributes; at != NULL; at = at->next) {
        if (!at->declares && (at->foreign || !listed(rule->attributes, at->name))) {
            const char *colon = strchr(at->name, ':');

            return xml_error(reader, node, "unknown attribute '%.64s'",
                             colon != NULL ? colon + 1 : at->name);
        }
    }
    return 0;
}

static const struct xml_rule *find_rule(const struct xml_rule *rules, struct xml_node *node)
{
    for (; rules->name != NULL; rules++) {
        if (!node->foreign && strcmp(rules->name, node->name) == 0) {
            return rules;
        }
    }
    return NULL;
}

static bool stood_before(struct xml_node *node)
{
    for (struct xml_node *at = node->prev; at != NULL; at = at->prev) {
        if (at->kind == XML_ELEMENT && strcmp(at->name, node->name) == 0) {
            return true;
        }
    }
    return false;
}

static int read_element(struct xml_reader *reader, struct xml_node *parent, struct xml_node *node,
                        const struct xml_rule *rules)
{
    const struct xml_rule *rule = find_rule(rules, node);

    if (rule == NULL) {
        return err_set(reader->err, EBADMSG, "%s:%u: <%.64s>: unknown element <%.64s>",
                       reader->file, node->line, parent->name, node->name);
    }
    if (!rule->many && stood_before(node)) {
        return xml_error(reader, node, "stands here for the second time");
    }

    int rc = check_attributes(reader, node, rule);

    return rc != 0 ? rc : rule->read(reader, node);
}

static bool is_blank(const struct xml_node *node)
{
    return node->text[strspn(node->text, " \t\r\n")] == '\0';
}

int xml_read_children(struct xml_reader *reader, struct xml_node *node,
                      const struct xml_rule *rules)
{
    for (struct xml_node *at = node->children; at != NULL; at = at->next) {
        int rc = 0;

        switch (at->kind) {
        case XML_ELEMENT:
            rc = read_element(reader, node, at, rules);
            break;
        case XML_COMMENT:
            break;
        case XML_TEXT:
            rc = is_blank(at) ? 0 : xml_error(reader, node, "unexpected text");
            break;
        default:
            rc = xml_error(reader, node, "unexpected markup");
            break;
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int xml_read_root(struct xml_reader *reader, const struct xml_rule *rule)
{
    struct xml_node *root = reader->tree.root;

    if (root->foreign) {
        return xml_error(reader, root, "must not have a namespace");
    }
    if (strcmp(root->name, rule->name) != 0) {
        return xml_error(reader, root, "the outermost element must be <%s>", rule->name);
    }

    int rc = check_attributes(reader, root, rule);

    return rc != 0 ? rc : rule->read(reader, root);
}

int xml_read_empty(struct xml_reader *reader, struct xml_node *node)
{
    static const struct xml_rule nothing[] = {{.name = NULL}};

    return xml_read_children(reader, node, nothing);
}

int xml_read_foreign(struct xml_reader *reader, struct xml_node *node)
{
    for (struct xml_node *at = node->children; at != NULL; at = at->next) {
        if (at->kind == XML_TEXT && !is_blank(at)) {
            return xml_error(reader, node, "unexpected text");
        }
    }
    return 0;
}

/* --- values ------------------------------------------------------------------------------ */

/* A copy without blanks at both ends. */
static char *trimmed(const char *text)
{
    text += strspn(text, " \t\r\n");

    size_t bytes = strlen(text);

    while (bytes > 0 && strchr(" \t\r\n", text[bytes - 1]) != NULL) {
        bytes--;
    }
    return strndup(text, bytes);
}

static int no_memory(struct xml_reader *reader)
{
    return err_set(reader->err, ENOMEM, "%s: no memory", reader->file);
}

char *xml_content(const struct xml_node *node)
{
    size_t bytes = 1;
    char *out;

    for (const struct xml_node *at = node->children; at != NULL; at = at->next) {
        bytes += at->kind == XML_TEXT ? strlen(at->text) : 0;
    }
    out = calloc(1, bytes);
    for (const struct xml_node *at = node->children; out != NULL && at != NULL; at = at->next) {
        if (at->kind == XML_TEXT) {
            strcat(out, at->text);
        }
    }
    return out;
}

int xml_text(struct xml_reader *reader, struct xml_node *node, char **text)
{
    for (struct xml_node *at = node->children; at != NULL; at = at->next) {
        if (at->kind == XML_ELEMENT) {
            return err_set(reader->err, EBADMSG, "%s:%u: <%.64s>: unknown element <%.64s>",
                           reader->file, at->line, node->name, at->name);
        }
        if (at->kind != XML_TEXT && at->kind != XML_COMMENT) {
            return xml_error(reader, node, "unexpected markup");
        }
    }

    char *content = xml_content(node);

    *text = content != NULL ? trimmed(content) : NULL;
    free(content);
    return *text != NULL ? 0 : no_memory(reader);
}

int xml_word(struct xml_reader *reader, struct xml_node *node, char **text)
{
    char *found;
    int rc = xml_text(reader, node, &found);

    if (rc != 0) {
        return rc;
    }
    if (*found == '\0') {
        free(found);
        return xml_error(reader, node, "is empty");
    }
    *text = found;
    return 0;
}

int xml_exact(struct xml_reader *reader, struct xml_node *node, char **text)
{
    int rc = xml_word(reader, node, text);
    char *whole = rc == 0 ? xml_content(node) : NULL;

    if (whole != NULL && strcmp(whole, *text) != 0) {
        free(*text);
        *text = NULL;
        rc = xml_error(reader, node, "has blanks around its value");
    }
    free(whole);
    return rc;
}

int xml_attribute(struct xml_reader *reader, struct xml_node *node, const char *name, char **value)
{
    const char *found = xml_tree_attribute(node, name);

    *value = NULL;
    if (found == NULL) {
        return 0;
    }
    *value = strdup(found);
    return *value != NULL ? 0 : no_memory(reader);
}

int xml_attribute_required(struct xml_reader *reader, struct xml_node *node, const char *name,
                           char **value)
{
    int rc = xml_attribute(reader, node, name, value);

    if (rc == 0 && (*value == NULL || **value == '\0')) {
        rc = xml_error(reader, node,
                       *value == NULL ? "attribute '%s' is missing" : "attribute '%s' is empty",
                       name);
        free(*value);
        *value = NULL;
    }
    return rc;
}

int xml_attribute_needed(struct xml_reader *reader, struct xml_node *node, const char *name)
{
    char *value;
    int rc = xml_attribute_required(reader, node, name, &value);

    free(rc == 0 ? value : NULL);
    return rc;
}

int xml_attribute_choice(struct xml_reader *reader, struct xml_node *node, const char *name,
                         const char *const *values, size_t *index)
{
    char *value;
    int rc = xml_attribute(reader, node, name, &value);

    if (rc != 0 || value == NULL) {
        return rc;
    }

    size_t at = 0;

    while (values[at] != NULL && strcmp(values[at], value) != 0) {
        at++;
    }
    if (values[at] == NULL) {
        rc = xml_error(reader, node, "%s='%.64s' is not supported (only '%s'%s)", name, value,
                       values[0], values[1] != NULL ? " and others" : "");
    } else if (index != NULL) {
        *index = at;
    }
    free(value);
    return rc;
}
