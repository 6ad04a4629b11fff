/* SPDX-License-Identifier: MIT */
/*
 * See xml_tree.h. The parser works on a copy of the document that ends in a NUL, which no character
 * of it is: a look at the next byte never goes beyond the end. Values are resolved in place, which
 * only ever makes them shorter.
 */
#include "dom0-tools/config/xml_tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct xml_chunk {
    struct xml_chunk *next;
    max_align_t memory[];
};

struct parse {
    struct xml_tree *tree;
    const char *file;
    struct err *err;
    char *at; /* next byte */
    unsigned int line;
    unsigned int depth, max_depth;
    struct xml_node *open; /* innermost element that has not ended */
};

static int malformed(struct parse *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int malformed(struct parse *p, const char *format, ...)
{
    char text[160];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    return err_set(p->err, EBADMSG, "%s:%u: not well-formed: %s", p->file, p->line, text);
}

/* --- memory ------------------------------------------------------------------------------ */

static void *take(struct xml_tree *tree, size_t bytes)
{
    struct xml_chunk *chunk = calloc(1, sizeof(*chunk) + bytes);

    if (chunk == NULL) {
        return NULL;
    }
    chunk->next = tree->chunks;
    tree->chunks = chunk;
    return chunk->memory;
}

static char *copy(struct xml_tree *tree, const char *text, size_t bytes)
{
    char *out = take(tree, bytes + 1);

    if (out != NULL) {
        memcpy(out, text, bytes);
    }
    return out;
}

void xml_tree_free(struct xml_tree *tree)
{
    while (tree->chunks != NULL) {
        struct xml_chunk *chunk = tree->chunks;

        tree->chunks = chunk->next;
        free(chunk);
    }
    tree->root = NULL;
}

/* --- building ---------------------------------------------------------------------------- */

static struct xml_node *add(struct xml_tree *tree, struct xml_node *parent, enum xml_kind kind)
{
    struct xml_node *node = take(tree, sizeof(*node));

    if (node == NULL) {
        return NULL;
    }
    node->kind = kind;
    node->parent = parent;
    if (parent == NULL) {
        tree->root = kind == XML_ELEMENT ? node : tree->root;
        return node;
    }
    node->prev = parent->last;
    *(parent->last != NULL ? &parent->last->next : &parent->children) = node;
    parent->last = node;
    return node;
}

static struct xml_attribute *add_attribute(struct xml_tree *tree, struct xml_node *node)
{
    struct xml_attribute *attribute = take(tree, sizeof(*attribute));

    if (attribute != NULL) {
        *(node->last_attribute != NULL ? &node->last_attribute->next : &node->attributes) =
            attribute;
        node->last_attribute = attribute;
    }
    return attribute;
}

struct xml_node *xml_tree_add(struct xml_tree *tree, struct xml_node *parent, const char *name,
                              const char *text)
{
    struct xml_node *node =
        parent != NULL || tree->root == NULL ? add(tree, parent, XML_ELEMENT) : NULL;

    if (node == NULL) {
        return NULL;
    }
    node->name = name;
    if (text != NULL) {
        struct xml_node *inner = add(tree, node, XML_TEXT);

        if (inner == NULL || (inner->text = copy(tree, text, strlen(text))) == NULL) {
            return NULL;
        }
    }
    return node;
}

bool xml_tree_set(struct xml_tree *tree, struct xml_node *node, const char *name, const char *value)
{
    struct xml_attribute *attribute = node != NULL ? add_attribute(tree, node) : NULL;

    if (attribute == NULL) {
        return false;
    }
    attribute->name = name;
    attribute->value = copy(tree, value, strlen(value));
    return attribute->value != NULL;
}

const char *xml_tree_attribute(const struct xml_node *node, const char *name)
{
    for (const struct xml_attribute *at = node->attributes; at != NULL; at = at->next) {
        if (!at->foreign && strcmp(at->name, name) == 0) {
            return at->value;
        }
    }
    return NULL;
}

struct xml_node *xml_tree_first(const struct xml_node *node)
{
    struct xml_node *at = node->children;

    while (at != NULL && at->kind != XML_ELEMENT) {
        at = at->next;
    }
    return at;
}

/* --- writing ----------------------------------------------------------------------------- */

static void write_escaped(FILE *out, const char *text, bool attribute)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '\r':
            fputs("&#13;", out);
            break;
        default:
            if (attribute && (*text == '"' || *text == '\n' || *text == '\t')) {
                fprintf(out, "&#%d;", *text);
            } else {
                fputc(*text, out);
            }
        }
    }
}

void xml_tree_write(FILE *out, const struct xml_node *node, unsigned int depth)
{
    if (node->kind == XML_TEXT) {
        write_escaped(out, node->text, false);
        return;
    }

    bool indent = node->children != NULL && node->children->kind == XML_ELEMENT;

    fprintf(out, "<%s", node->name);
    for (const struct xml_attribute *at = node->attributes; at != NULL; at = at->next) {
        fprintf(out, " %s=\"", at->name);
        write_escaped(out, at->value, true);
        fputc('"', out);
    }
    fputs(node->children != NULL ? ">" : "/>", out);
    for (const struct xml_node *at = node->children; at != NULL; at = at->next) {
        if (indent) {
            fprintf(out, "\n%*s", 2 * (int)(depth + 1), "");
        }
        xml_tree_write(out, at, depth + 1);
    }
    if (indent) {
        fprintf(out, "\n%*s", 2 * (int)depth, "");
    }
    if (node->children != NULL) {
        fprintf(out, "</%s>", node->name);
    }
}

/* --- characters -------------------------------------------------------------------------- */

static bool is_character(uint32_t code)
{
    return code == '\t' || code == '\n' || code == '\r' || (code >= 0x20 && code < 0xd800) ||
           (code >= 0xe000 && code < 0xfffe) || (code >= 0x10000 && code < 0x110000);
}

/* Bytes of the character at the start of `text`, 0 when there is none. */
static size_t character(const uint8_t *text, size_t bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t count = text[0] < 0x80   ? 1
                   : text[0] < 0xc0 ? 0
                   : text[0] < 0xe0 ? 2
                   : text[0] < 0xf0 ? 3
                                    : 4;
    uint32_t code = text[0];

    if (count == 0 || count > bytes || text[0] >= 0xf8) {
        return 0;
    }
    if (count > 1) {
        code &= 0x7fu >> count;
    }
    for (size_t i = 1; i < count; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (text[i] & 0x3fu);
    }
    return code >= least[count] && is_character(code) ? count : 0;
}

bool xml_tree_is_text(const char *text, size_t bytes)
{
    for (size_t at = 0, step; at < bytes; at += step) {
        step = character((const uint8_t *)text + at, bytes - at);
        if (step == 0) {
            return false;
        }
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool starts_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

static bool continues_name(char c)
{
    return starts_name(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

/* --- parsing ----------------------------------------------------------------------------- */

static void step(struct parse *p, size_t bytes)
{
    for (; bytes > 0; bytes--) {
        p->line += *p->at++ == '\n';
    }
}

static bool skip_blanks(struct parse *p)
{
    size_t bytes = strspn(p->at, " \t\r\n");

    step(p, bytes);
    return bytes != 0;
}

static bool skip(struct parse *p, const char *word)
{
    size_t bytes = strlen(word);

    if (strncmp(p->at, word, bytes) != 0) {
        return false;
    }
    step(p, bytes);
    return true;
}

/* Skips what is before `end`, and `end`. */
static int skip_to(struct parse *p, const char *end, const char *what)
{
    char *found = strstr(p->at, end);

    if (found == NULL) {
        return malformed(p, "%s has no end", what);
    }
    step(p, (size_t)(found - p->at) + strlen(end));
    return 0;
}

/* A name with at most one colon inside; *local is what follows the colon. */
static int read_name(struct parse *p, char **name, char **local)
{
    char *start = p->at;
    char *colon = NULL;

    if (!starts_name(*p->at)) {
        return malformed(p, "a name is missing");
    }
    while (continues_name(*p->at) || (*p->at == ':' && colon == NULL && starts_name(p->at[1]))) {
        colon = *p->at == ':' ? p->at : colon;
        p->at++;
    }
    *name = copy(p->tree, start, (size_t)(p->at - start));
    if (*name == NULL) {
        return err_set(p->err, ENOMEM, "%s: no memory", p->file);
    }
    *local = colon != NULL ? *name + (colon - start) + 1 : *name;
    return 0;
}

/* Writes a character's bytes. Returns: how many. */
static size_t put_character(char *out, uint32_t code)
{
    size_t count = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = count - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(count == 1 ? code : (0xf00u >> count & 0xf0u) | code);
    return count;
}

/* The reference at p->at, which is longer than what it stands for; *out moves behind that. */
static int resolve(struct parse *p, char **out)
{
    static const struct {
        const char *name;
        char letter;
    } entities[] = {
        {"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}};

    for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
        if (skip(p, entities[i].name)) {
            *(*out)++ = entities[i].letter;
            return 0;
        }
    }

    bool hex = strncmp(p->at, "&#x", 3) == 0;
    char *digits = p->at + (hex ? 3 : 2);
    size_t count = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");

    if (p->at[1] != '#') {
        return malformed(p, "Entity '%.*s' is not defined", (int)strcspn(p->at + 1, "; \n<&'\""),
                         p->at + 1);
    }
    /* Leading zeros apart, no character has more than seven digits. */
    unsigned long code = count > 0 && count < 16 ? strtoul(digits, NULL, hex ? 16 : 10) : 0;

    if (digits[count] != ';' || code > 0x10ffff || !is_character((uint32_t)code)) {
        return malformed(p, "a reference is to no character");
    }
    p->at = digits + count + 1;
    *out += put_character(*out, (uint32_t)code);
    return 0;
}

static int read_value(struct parse *p, const char **value)
{
    char quote = *p->at;
    char *out = p->at;
    int rc = 0;

    if (quote != '"' && quote != '\'') {
        return malformed(p, "an attribute's value has no quotes");
    }
    p->at++;
    *value = out;
    while (rc == 0 && *p->at != quote) {
        if (*p->at == '\0' || *p->at == '<') {
            return malformed(p, "an attribute's value does not end");
        }
        if (*p->at == '&') {
            rc = resolve(p, &out);
        } else {
            *out++ = is_blank(*p->at) ? ' ' : *p->at;
            step(p, 1);
        }
    }
    if (rc == 0) {
        *out = '\0';
        p->at++;
    }
    return rc;
}

static int read_attribute(struct parse *p, struct xml_node *node)
{
    char *name, *local;
    int rc = read_name(p, &name, &local);
    struct xml_attribute *attribute;

    if (rc != 0) {
        return rc;
    }
    for (attribute = node->attributes; attribute != NULL; attribute = attribute->next) {
        if (strcmp(attribute->name, name) == 0) {
            return malformed(p, "attribute %.40s for the second time", name);
        }
    }
    attribute = add_attribute(p->tree, node);
    if (attribute == NULL) {
        return err_set(p->err, ENOMEM, "%s: no memory", p->file);
    }
    attribute->name = name;
    attribute->declares = strcmp(name, "xmlns") == 0 || strncmp(name, "xmlns:", 6) == 0;
    attribute->foreign = attribute->declares || local != name;
    skip_blanks(p);
    if (!skip(p, "=")) {
        return malformed(p, "attribute %.40s has no value", name);
    }
    skip_blanks(p);
    rc = read_value(p, &attribute->value);
    if (rc == 0 && attribute->declares && local != name && attribute->value[0] == '\0') {
        rc = malformed(p, "%.40s: a prefix needs a namespace", name);
    }
    return rc;
}

/* Whether a name's prefix (none for local == name) means a namespace at this place; `default_too`
 * for elements, to which one without prefix applies. Errors: a prefix that is not declared. */
static int namespace_of(struct parse *p, const struct xml_node *node, const char *name,
                        bool default_too, bool *foreign)
{
    const char *colon = strchr(name, ':');
    size_t bytes = colon != NULL ? (size_t)(colon - name) : 0;

    *foreign = colon != NULL;
    if ((colon == NULL && !default_too) || (bytes == 3 && strncmp(name, "xml", 3) == 0)) {
        return 0;
    }
    for (; node != NULL; node = node->parent) {
        for (const struct xml_attribute *at = node->attributes; at != NULL; at = at->next) {
            bool same = colon == NULL ? strcmp(at->name, "xmlns") == 0
                                      : strlen(at->name) == 6 + bytes &&
                                            strncmp(at->name + 6, name, bytes) == 0;

            if (at->declares && same) {
                *foreign = at->value[0] != '\0';
                return 0;
            }
        }
    }
    return colon == NULL ? 0 : malformed(p, "prefix of %.40s is not declared", name);
}

/* A start tag, behind its "<". */
static int read_start(struct parse *p)
{
    struct xml_node *node;
    char *name, *local;
    bool blank;
    int rc = read_name(p, &name, &local);

    if (rc != 0) {
        return rc;
    }
    if (++p->depth > p->max_depth) {
        return err_set(p->err, EBADMSG, "%s:%u: elements are nested too deeply", p->file, p->line);
    }
    node = add(p->tree, p->open, XML_ELEMENT);
    if (node == NULL) {
        return err_set(p->err, ENOMEM, "%s: no memory", p->file);
    }
    node->name = name;
    node->line = p->line;
    p->open = node;
    while (blank = skip_blanks(p), rc == 0 && *p->at != '>' && *p->at != '/') {
        rc = blank ? read_attribute(p, node) : malformed(p, "<%.40s> does not end", name);
    }
    if (rc == 0) {
        rc = namespace_of(p, node, name, true, &node->foreign);
    }
    for (struct xml_attribute *at = node->attributes; rc == 0 && at != NULL; at = at->next) {
        rc = at->declares ? 0 : namespace_of(p, node, at->name, false, &at->foreign);
    }
    if (rc == 0 && skip(p, "/>")) {
        p->open = node->parent;
        p->depth--;
    } else if (rc == 0 && !skip(p, ">")) {
        rc = malformed(p, "<%.40s> does not end", name);
    }
    return rc;
}

/* An end tag, behind its "</". */
static int read_end(struct parse *p)
{
    char *name, *local;
    int rc = read_name(p, &name, &local);

    if (rc != 0) {
        return rc;
    }
    if (p->open == NULL || strcmp(name, p->open->name) != 0) {
        return malformed(p, "</%.40s> where <%.40s> is open", name,
                         p->open != NULL ? p->open->name : "nothing");
    }
    skip_blanks(p);
    if (!skip(p, ">")) {
        return malformed(p, "</%.40s> does not end", name);
    }
    p->open = p->open->parent;
    p->depth--;
    return 0;
}

/* Text up to the next markup, which `next` tells (its first byte may be overwritten). */
static int read_text(struct parse *p)
{
    struct xml_node *node = add(p->tree, p->open, XML_TEXT);
    char *out = p->at;
    int rc = 0;

    if (node == NULL) {
        return err_set(p->err, ENOMEM, "%s: no memory", p->file);
    }
    node->line = p->line;
    node->text = out;
    while (rc == 0 && *p->at != '<' && *p->at != '\0') {
        if (*p->at == '&') {
            rc = resolve(p, &out);
        } else if (strncmp(p->at, "]]>", 3) == 0) {
            rc = malformed(p, "]]> in text");
        } else {
            *out++ = *p->at;
            step(p, 1);
        }
    }
    return rc != 0 || (node->text = copy(p->tree, node->text, (size_t)(out - node->text))) != NULL
               ? rc
               : err_set(p->err, ENOMEM, "%s: no memory", p->file);
}

/* What begins with "<!" or "<?". */
static int read_special(struct parse *p)
{
    struct xml_node *node;
    char *start;
    int rc;

    if (strncmp(p->at, "<!DOCTYPE", 9) == 0) {
        return err_set(p->err, EBADMSG,
                       "%s:%u: <!DOCTYPE>: document types and entities are not allowed", p->file,
                       p->line);
    }
    if (skip(p, "<![CDATA[")) {
        start = p->at;
        rc = p->open != NULL ? skip_to(p, "]]>", "CDATA") : malformed(p, "CDATA outside");
        node = rc == 0 ? add(p->tree, p->open, XML_TEXT) : NULL;
        if (node != NULL) {
            node->text = copy(p->tree, start, (size_t)(p->at - start) - 3);
        }
        return rc != 0 || (node != NULL && node->text != NULL)
                   ? rc
                   : err_set(p->err, ENOMEM, "%s: no memory", p->file);
    }
    if (skip(p, "<!--")) {
        rc = skip_to(p, "--", "a comment");
        if (rc == 0 && !skip(p, ">")) {
            rc = malformed(p, "-- in a comment");
        }
        return rc != 0 || add(p->tree, p->open, XML_COMMENT) != NULL
                   ? rc
                   : err_set(p->err, ENOMEM, "%s: no memory", p->file);
    }
    if (!skip(p, "<?") || !starts_name(*p->at)) {
        return malformed(p, "unknown markup");
    }
    start = p->at;
    if (strncasecmp(start, "xml", 3) == 0 && !continues_name(start[3])) {
        return malformed(p, "the XML declaration is not at the start");
    }
    rc = skip_to(p, "?>", "an instruction");
    return rc != 0 || add(p->tree, p->open, XML_INSTRUCTION) != NULL
               ? rc
               : err_set(p->err, ENOMEM, "%s: no memory", p->file);
}

/* <?xml ...?>, if it is there. Only one encoding is understood. */
static int read_declaration(struct parse *p)
{
    struct xml_node holder = {.kind = XML_INSTRUCTION};
    const char *version, *encoding;
    bool blank;
    int rc = 0;

    if (strncmp(p->at, "<?xml", 5) != 0 || continues_name(p->at[5])) {
        return 0;
    }
    step(p, 5);
    while (blank = skip_blanks(p), rc == 0 && *p->at != '?') {
        rc = blank ? read_attribute(p, &holder) : malformed(p, "XML declaration does not end");
    }
    version = xml_tree_attribute(&holder, "version");
    encoding = xml_tree_attribute(&holder, "encoding");
    if (rc == 0 && (!skip(p, "?>") || version == NULL || strncmp(version, "1.", 2) != 0)) {
        rc = malformed(p, "XML declaration is damaged");
    }
    if (rc == 0 && encoding != NULL && strcasecmp(encoding, "UTF-8") != 0 &&
        strcasecmp(encoding, "US-ASCII") != 0) {
        rc = malformed(p, "encoding %.40s: only UTF-8 is understood", encoding);
    }
    return rc;
}

static int read_document(struct parse *p)
{
    int rc = read_declaration(p);

    while (rc == 0 && *p->at != '\0') {
        if (p->open == NULL && skip_blanks(p)) {
            continue;
        }
        if (*p->at != '<') {
            rc = p->open != NULL ? read_text(p) : malformed(p, "text outside of the element");
        } else if (p->at[1] == '!' || p->at[1] == '?') {
            rc = read_special(p);
        } else if (skip(p, "</")) {
            rc = read_end(p);
        } else if (p->open == NULL && p->tree->root != NULL) {
            rc = malformed(p, "a second outermost element");
        } else {
            step(p, 1);
            rc = read_start(p);
        }
    }
    if (rc == 0 && (p->open != NULL || p->tree->root == NULL)) {
        rc = malformed(p, p->open != NULL ? "<%.40s> has no end" : "there is no element%s",
                       p->open != NULL ? p->open->name : "");
    }
    return rc;
}

/* Lines end in \n only, as XML wants it. */
static void unify_lines(char *text)
{
    char *out = text;

    for (; *text != '\0'; text++) {
        if (*text != '\r') {
            *out++ = *text;
        } else if (text[1] != '\n') {
            *out++ = '\n';
        }
    }
    *out = '\0';
}

/* Local names are known by now: prefixes have done their work. */
static void strip_prefixes(struct xml_node *node)
{
    for (; node != NULL; node = node->next) {
        const char *colon = node->name != NULL ? strchr(node->name, ':') : NULL;

        node->name = colon != NULL ? colon + 1 : node->name;
        strip_prefixes(node->children);
    }
}

int xml_tree_parse(struct xml_tree *tree, const char *file, const void *data, size_t bytes,
                   unsigned int max_depth, struct err *err)
{
    struct parse parse = {
        .tree = tree, .file = file, .err = err, .line = 1, .max_depth = max_depth};
    static const char mark[] = "\xef\xbb\xbf";
    const char *text = data;
    int rc;

    *tree = (struct xml_tree){NULL, NULL};
    if (bytes >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        bytes -= 3;
    }
    if (!xml_tree_is_text(text, bytes)) {
        /* The line of the first byte that is none. */
        for (size_t at = 0, count; (count = character((const uint8_t *)text + at, bytes - at)) != 0;
             at += count) {
            parse.line += text[at] == '\n';
        }
        return malformed(&parse, "bytes that are no UTF-8 text");
    }
    parse.at = copy(tree, text, bytes);
    if (parse.at == NULL) {
        return err_set(err, ENOMEM, "%s: no memory", file);
    }
    unify_lines(parse.at);
    rc = read_document(&parse);
    if (rc != 0) {
        xml_tree_free(tree);
        return rc;
    }
    strip_prefixes(tree->root);
    return 0;
}
