/* SPDX-License-Identifier: MIT */
/*
 * A strict reader of small XML documents on top of libxml2.
 *
 * A document is read against tables: for each element the attributes it may have, how often it may
 * stand there and the function that takes it. What no table names is an error, so readers of a
 * format list what they understand and nothing else. Every report carries file, line and element.
 * Private to dom0-tools/config.
 *
 * Safety: no document type, hence no entities beyond XML's own five; nothing is fetched; depth is
 * bounded while parsing, before a tree of that depth exists.
 */
#pragma once

#include <libxml/tree.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"

struct xml_reader {
    const char *file;   /* for reports */
    struct err *err;    /* where reports go */
    xmlDocPtr doc;      /* owned by xml_open() and xml_close() */
    unsigned int depth; /* of the element being parsed */
    void *target;       /* what the rules fill in; the reader does not look at it */
};

/* One element a parent may have. A row with name NULL ends a table. */
struct xml_rule {
    const char *name;
    const char *const *attributes; /* names ended by NULL; NULL for none */
    bool many;                     /* may stand more than once */
    /* Takes the element. Returns: 0 or a negative errno after xml_error(). */
    int (*read)(struct xml_reader *reader, xmlNodePtr node);
};

/* Parses a document. Errors: EBADMSG with file and line. */
int xml_open(struct xml_reader *reader, const char *file, const void *data, size_t bytes,
             unsigned int max_depth, struct err *err);
void xml_close(struct xml_reader *reader);

/* The outermost element, whose attributes are tested against `rule`, and which rule->read takes. */
int xml_read_root(struct xml_reader *reader, const struct xml_rule *rule);

/* Reads the children of `node` by a table; text between them is an error. */
int xml_read_children(struct xml_reader *reader, xmlNodePtr node, const struct xml_rule *rules);

/* Reports "file:line: <element>: ...". Returns: -EBADMSG. */
int xml_error(struct xml_reader *reader, xmlNodePtr node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Text of an element that has nothing else in it, blanks around it removed; may be empty.
 * *text is new memory, set in case of success only. */
int xml_text(struct xml_reader *reader, xmlNodePtr node, char **text);

/* As xml_text(), but the element must not be empty. */
int xml_word(struct xml_reader *reader, xmlNodePtr node, char **text);

/* As xml_word(), but without blanks or newlines around it, where those would be a part of it. */
int xml_exact(struct xml_reader *reader, xmlNodePtr node, char **text);

/* Value of an attribute in new memory, NULL if absent. */
int xml_attribute(struct xml_reader *reader, xmlNodePtr node, const char *name, char **value);

/* As xml_attribute(), but the attribute must be there and not empty. */
int xml_attribute_required(struct xml_reader *reader, xmlNodePtr node, const char *name,
                           char **value);

/* Checks that an attribute is there and not empty. */
int xml_attribute_needed(struct xml_reader *reader, xmlNodePtr node, const char *name);

/* Checks that an attribute, where present, has one of the values; *index tells which, and is left
 * alone when absent. `values` ends with NULL; `index` may be NULL. */
int xml_attribute_choice(struct xml_reader *reader, xmlNodePtr node, const char *name,
                         const char *const *values, size_t *index);

/* Rule function for elements that must be empty. */
int xml_read_empty(struct xml_reader *reader, xmlNodePtr node);

/* Rule function for elements that hold other people's elements, of any kind, but no text. */
int xml_read_foreign(struct xml_reader *reader, xmlNodePtr node);
