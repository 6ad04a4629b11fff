/* SPDX-License-Identifier: MIT */
/*
 * XML documents as trees: reading one, building one, writing one.
 *
 * Of XML 1.0 with namespaces, in UTF-8: elements, attributes, text, CDATA, comments, processing
 * instructions, references to characters and to XML's own five entities. Document types are
 * refused, and with them all other entities; nothing is ever fetched. Depth is bounded while
 * parsing, memory by a small multiple of the document's size.
 * Private to dom0-tools/config; pure, no files.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "dom0-tools/base/err.h"

enum xml_kind {
    XML_ELEMENT,
    XML_TEXT,    /* CDATA too */
    XML_COMMENT, /* without its text */
    XML_INSTRUCTION,
};

struct xml_attribute {
    struct xml_attribute *next;
    const char *name; /* with its prefix */
    const char *value;
    bool foreign; /* declares a namespace, or is in one */
    bool declares;
};

struct xml_node {
    enum xml_kind kind;
    unsigned int line;
    const char *name; /* of an element, without prefix */
    const char *text; /* of XML_TEXT, references resolved */
    bool foreign;     /* is in a namespace */
    struct xml_attribute *attributes, *last_attribute;
    struct xml_node *parent, *prev, *next, *children, *last;
};

/* A tree and its memory. */
struct xml_tree {
    struct xml_node *root;
    struct xml_chunk *chunks;
};

/* Parses a document. Errors: EBADMSG with file and line, ENOMEM. */
int xml_tree_parse(struct xml_tree *tree, const char *file, const void *data, size_t bytes,
                   unsigned int max_depth, struct err *err);
void xml_tree_free(struct xml_tree *tree);

/* An element below another (NULL: the root) with text, or NULL for none. The text is copied.
 * Returns: NULL without memory, and does nothing with a parent, or node, that is NULL. */
struct xml_node *xml_tree_add(struct xml_tree *tree, struct xml_node *parent, const char *name,
                              const char *text);
bool xml_tree_set(struct xml_tree *tree, struct xml_node *node, const char *name,
                  const char *value);

/* Writes a node with what is below it, indented where there is no text. */
void xml_tree_write(FILE *out, const struct xml_node *node, unsigned int depth);

/* Value of an attribute that is in no namespace, or NULL. */
const char *xml_tree_attribute(const struct xml_node *node, const char *name);

/* First element below a node, or NULL. */
struct xml_node *xml_tree_first(const struct xml_node *node);

/* Whether bytes are UTF-8, of characters XML has. */
bool xml_tree_is_text(const char *text, size_t bytes);
