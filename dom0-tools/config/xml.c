/* SPDX-License-Identifier: MIT */
/*
 * Parsing under limits, and walking the tree by tables.
 *
 * libxml2 builds the tree through its own SAX functions; three of them are wrapped: a document
 * type stops the parser at once (that is where entities would be declared), each start of an
 * element counts the depth, and parser errors are collected here instead of being printed.
 */
#include "dom0-tools/config/xml.h"

#include <errno.h>
#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Lives while xml_open() runs; the parser context points at it. */
struct parse {
    struct xml_reader *reader;
    unsigned int max_depth;
    bool failed;
};

static const char *name_of(xmlNodePtr node)
{
    return (const char *)node->name;
}

int xml_error(struct xml_reader *reader, xmlNodePtr node, const char *format, ...)
{
    char text[ERR_TEXT_BYTES];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    return err_set(reader->err, EBADMSG, "%s:%ld: <%.64s>: %s", reader->file, xmlGetLineNo(node),
                   name_of(node), text);
}

/* --- parsing ----------------------------------------------------------------------------- */

/* Keeps the first report and ends parsing. */
static void stop(xmlParserCtxtPtr parser, int line, const char *text)
{
    struct parse *parse = parser->_private;

    if (!parse->failed) {
        size_t bytes = strcspn(text, "\n");

        parse->failed = true;
        err_set(parse->reader->err, EBADMSG, "%s:%d: %.*s", parse->reader->file, line,
                (int)(bytes < 200 ? bytes : 200), text);
    }
    xmlStopParser(parser);
}

static void on_document_type(void *context, const xmlChar *name, const xmlChar *external,
                             const xmlChar *system)
{
    xmlParserCtxtPtr parser = context;

    (void)name;
    (void)external;
    (void)system;
    stop(parser, xmlSAX2GetLineNumber(parser),
         "<!DOCTYPE>: document types and entities are not allowed");
}

static void on_start(void *context, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int namespace_count, const xmlChar **namespaces, int attribute_count,
                     int default_count, const xmlChar **attributes)
{
    xmlParserCtxtPtr parser = context;
    struct parse *parse = parser->_private;

    if (++parse->reader->depth > parse->max_depth) {
        stop(parser, xmlSAX2GetLineNumber(parser), "elements are nested too deeply");
        return;
    }
    xmlSAX2StartElementNs(context, name, prefix, uri, namespace_count, namespaces, attribute_count,
                          default_count, attributes);
}

static void on_end(void *context, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    xmlParserCtxtPtr parser = context;
    struct parse *parse = parser->_private;

    parse->reader->depth--;
    xmlSAX2EndElementNs(context, name, prefix, uri);
}

/* libxml2 gives its own context or the parser's, depending on where the error is. */
static void on_error(void *context, xmlErrorPtr error)
{
    xmlParserCtxtPtr parser = context;

    if (error->level >= XML_ERR_ERROR) {
        char text[256];

        snprintf(text, sizeof(text), "not well-formed: %s",
                 error->message != NULL ? error->message : "unknown error");
        stop(parser, error->line, text);
    }
}

int xml_open(struct xml_reader *reader, const char *file, const void *data, size_t bytes,
             unsigned int max_depth, struct err *err)
{
    struct parse parse = {.reader = reader, .max_depth = max_depth};

    *reader = (struct xml_reader){.file = file, .err = err, .target = reader->target};
    if (bytes == 0 || bytes > INT_MAX) {
        return err_set(err, EBADMSG, "%s: %s", file, bytes == 0 ? "file is empty" : "too large");
    }

    xmlParserCtxtPtr parser = xmlNewParserCtxt();

    if (parser == NULL) {
        return err_set(err, ENOMEM, "%s: no memory", file);
    }
    parser->_private = &parse;
    parser->sax->internalSubset = on_document_type;
    parser->sax->startElementNs = on_start;
    parser->sax->endElementNs = on_end;
    parser->sax->serror = on_error;
    reader->doc = xmlCtxtReadMemory(parser, data, (int)bytes, NULL, NULL,
                                    XML_PARSE_NONET | XML_PARSE_NOCDATA | XML_PARSE_BIG_LINES);
    if (parse.failed || reader->doc == NULL || !parser->wellFormed) {
        if (!parse.failed) {
            err_set(err, EBADMSG, "%s: not well-formed", file);
        }
        xmlFreeDoc(reader->doc);
        reader->doc = NULL;
    }
    xmlFreeParserCtxt(parser);
    return reader->doc != NULL ? 0 : -EBADMSG;
}

void xml_close(struct xml_reader *reader)
{
    xmlFreeDoc(reader->doc);
    reader->doc = NULL;
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

static int check_attributes(struct xml_reader *reader, xmlNodePtr node, const struct xml_rule *rule)
{
    for (xmlAttrPtr at = node->properties; at != NULL; at = at->next) {
        if (at->ns != NULL || !listed(rule->attributes, (const char *)at->name)) {
            return xml_error(reader, node, "unknown attribute '%.64s'", (const char *)at->name);
        }
    }
    return 0;
}

static const struct xml_rule *find_rule(const struct xml_rule *rules, xmlNodePtr node)
{
    for (; rules->name != NULL; rules++) {
        if (node->ns == NULL && strcmp(rules->name, name_of(node)) == 0) {
            return rules;
        }
    }
    return NULL;
}

static bool stood_before(xmlNodePtr node)
{
    for (xmlNodePtr at = node->prev; at != NULL; at = at->prev) {
        if (at->type == XML_ELEMENT_NODE && strcmp(name_of(at), name_of(node)) == 0) {
            return true;
        }
    }
    return false;
}

static int read_element(struct xml_reader *reader, xmlNodePtr parent, xmlNodePtr node,
                        const struct xml_rule *rules)
{
    const struct xml_rule *rule = find_rule(rules, node);

    if (rule == NULL) {
        return err_set(reader->err, EBADMSG, "%s:%ld: <%.64s>: unknown element <%.64s>",
                       reader->file, xmlGetLineNo(node), name_of(parent), name_of(node));
    }
    if (!rule->many && stood_before(node)) {
        return xml_error(reader, node, "stands here for the second time");
    }

    int rc = check_attributes(reader, node, rule);

    return rc != 0 ? rc : rule->read(reader, node);
}

int xml_read_children(struct xml_reader *reader, xmlNodePtr node, const struct xml_rule *rules)
{
    for (xmlNodePtr at = node->children; at != NULL; at = at->next) {
        int rc = 0;

        switch (at->type) {
        case XML_ELEMENT_NODE:
            rc = read_element(reader, node, at, rules);
            break;
        case XML_COMMENT_NODE:
            break;
        case XML_TEXT_NODE:
            rc = xmlIsBlankNode(at) ? 0 : xml_error(reader, node, "unexpected text");
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
    xmlNodePtr root = xmlDocGetRootElement(reader->doc);

    if (root->ns != NULL) {
        return xml_error(reader, root, "must not have a namespace");
    }
    if (strcmp(name_of(root), rule->name) != 0) {
        return xml_error(reader, root, "the outermost element must be <%s>", rule->name);
    }

    int rc = check_attributes(reader, root, rule);

    return rc != 0 ? rc : rule->read(reader, root);
}

int xml_read_empty(struct xml_reader *reader, xmlNodePtr node)
{
    static const struct xml_rule nothing[] = {{.name = NULL}};

    return xml_read_children(reader, node, nothing);
}

int xml_read_foreign(struct xml_reader *reader, xmlNodePtr node)
{
    for (xmlNodePtr at = node->children; at != NULL; at = at->next) {
        if (at->type == XML_TEXT_NODE && !xmlIsBlankNode(at)) {
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

int xml_text(struct xml_reader *reader, xmlNodePtr node, char **text)
{
    for (xmlNodePtr at = node->children; at != NULL; at = at->next) {
        if (at->type == XML_ELEMENT_NODE) {
            return err_set(reader->err, EBADMSG, "%s:%ld: <%.64s>: unknown element <%.64s>",
                           reader->file, xmlGetLineNo(at), name_of(node), name_of(at));
        }
        if (at->type != XML_TEXT_NODE && at->type != XML_COMMENT_NODE) {
            return xml_error(reader, node, "unexpected markup");
        }
    }

    xmlChar *content = xmlNodeGetContent(node);

    if (content == NULL) {
        return no_memory(reader);
    }
    *text = trimmed((const char *)content);
    xmlFree(content);
    return *text != NULL ? 0 : no_memory(reader);
}

int xml_word(struct xml_reader *reader, xmlNodePtr node, char **text)
{
    char *found = NULL;
    int rc = xml_text(reader, node, &found);

    if (found == NULL) {
        return rc;
    }
    if (*found == '\0') {
        free(found);
        return xml_error(reader, node, "is empty");
    }
    *text = found;
    return 0;
}

int xml_exact(struct xml_reader *reader, xmlNodePtr node, char **text)
{
    int rc = xml_word(reader, node, text);
    xmlChar *whole = rc == 0 ? xmlNodeGetContent(node) : NULL;

    if (whole != NULL && strcmp((const char *)whole, *text) != 0) {
        free(*text);
        *text = NULL;
        rc = xml_error(reader, node, "has blanks around its value");
    }
    xmlFree(whole);
    return rc;
}

int xml_attribute(struct xml_reader *reader, xmlNodePtr node, const char *name, char **value)
{
    xmlChar *found = xmlGetNoNsProp(node, (const xmlChar *)name);

    *value = NULL;
    if (found == NULL) {
        return 0;
    }
    *value = strdup((const char *)found);
    xmlFree(found);
    return *value != NULL ? 0 : no_memory(reader);
}

int xml_attribute_required(struct xml_reader *reader, xmlNodePtr node, const char *name,
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

int xml_attribute_needed(struct xml_reader *reader, xmlNodePtr node, const char *name)
{
    char *value;
    int rc = xml_attribute_required(reader, node, name, &value);

    free(rc == 0 ? value : NULL);
    return rc;
}

int xml_attribute_choice(struct xml_reader *reader, xmlNodePtr node, const char *name,
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
