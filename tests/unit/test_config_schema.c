/* SPDX-License-Identifier: MIT */
/*
 * The files of tests/corpus/domain-xml before their three judges: the reader of dom0-tools/config,
 * our own schema, and libvirt's where Debian's package of it has been fetched. The README there
 * says what each must find. What config_write_xml() writes goes before them too.
 */
#include <CUnit/Basic.h>
#include <dirent.h>
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <libxml/xmlerror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/base/file.h"
#include "dom0-tools/config/config.h"
#include "tests/unit/runner.h"

#define CORPUS "tests/corpus/domain-xml"
#define OURS "dom0-tools/schema/domain.rng"
#define LIBVIRT "usr/share/libvirt/schemas/domain.rng"

static xmlRelaxNGPtr ours;
static xmlRelaxNGPtr libvirts; /* NULL where it is not there */
static char *expected;

/* What each kind of file must be found to be. */
static const struct kind {
    const char *prefix;
    bool reader;
    bool ours;
    bool libvirt;
} kinds[] = {
    {"good-", true, true, true},
    {"bad-", false, false, false},
    {"refused-", false, false, true},
    {"rule-", false, true, true},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static void silent(void *context, xmlErrorPtr error)
{
    (void)context;
    (void)error;
}

static xmlRelaxNGPtr load(const char *path)
{
    xmlRelaxNGParserCtxtPtr parser = xmlRelaxNGNewParserCtxt(path);
    xmlRelaxNGPtr schema;

    xmlRelaxNGSetParserStructuredErrors(parser, silent, NULL);
    schema = xmlRelaxNGParse(parser);
    xmlRelaxNGFreeParserCtxt(parser);
    return schema;
}

static bool valid(xmlRelaxNGPtr schema, const char *data, size_t bytes)
{
    xmlParserCtxtPtr parser = xmlNewParserCtxt();
    xmlDocPtr doc = xmlCtxtReadMemory(parser, data, (int)bytes, NULL, NULL,
                                      XML_PARSE_NONET | XML_PARSE_NOENT | XML_PARSE_NOERROR |
                                          XML_PARSE_NOWARNING);
    bool good = false;

    xmlFreeParserCtxt(parser);
    if (doc != NULL) {
        xmlRelaxNGValidCtxtPtr judge = xmlRelaxNGNewValidCtxt(schema);

        xmlRelaxNGSetValidStructuredErrors(judge, silent, NULL);
        good = xmlRelaxNGValidateDoc(judge, doc) == 0;
        xmlRelaxNGFreeValidCtxt(judge);
    }
    xmlFreeDoc(doc);
    return good;
}

/* Whether a report is the one that is expected for a file. */
static bool as_expected(const char *name, size_t name_bytes, const char *report)
{
    for (const char *line = expected; *line != '\0'; line += strcspn(line, "\n") + 1) {
        size_t bytes = strcspn(line, "\n");

        if (bytes > name_bytes && strncmp(line, name, name_bytes) == 0 && line[name_bytes] == ' ') {
            return strncmp(report, line + name_bytes + 1, bytes - name_bytes - 1) == 0;
        }
    }
    return false;
}

static const struct kind *kind_of(const char *name)
{
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (strncmp(name, kinds[i].prefix, strlen(kinds[i].prefix)) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

/* A configuration that is good is written as something that is good for all. */
static void check_written(const char *name, const struct vane_config *config)
{
    struct vane_config *again = NULL;
    struct err err = {0};
    char *text = NULL;
    char *twice = NULL;

    CU_ASSERT_EQUAL_FATAL(config_write_xml(config, &text, &err), 0);
    if (!valid(ours, text, strlen(text)) ||
        (libvirts != NULL && !valid(libvirts, text, strlen(text)))) {
        printf("\n  %s is written as %s\n", name, text);
        CU_FAIL("what is written is not valid");
    }
    CU_ASSERT_EQUAL_FATAL(config_parse(name, text, strlen(text), &again, &err), 0);
    CU_ASSERT_EQUAL_FATAL(config_write_xml(again, &twice, &err), 0);
    CU_ASSERT_STRING_EQUAL(text, twice);
    config_free(again);
    free(text);
    free(twice);
}

static void judge(const char *name, const struct kind *kind)
{
    struct vane_config *config = NULL;
    struct err err = {0};
    char path[512];
    size_t bytes;
    void *data;
    bool reader;

    snprintf(path, sizeof(path), CORPUS "/%s", name);
    CU_ASSERT_EQUAL_FATAL(file_read(path, CONFIG_MAX_FILE_BYTES, &data, &bytes, &err), 0);
    reader = config_parse("f", data, bytes, &config, &err) == 0;

    bool schema = valid(ours, data, bytes);
    bool libvirt = libvirts == NULL ? kind->libvirt : valid(libvirts, data, bytes);

    if (reader != kind->reader || schema != kind->ours || libvirt != kind->libvirt) {
        printf("\n  %s: reader %d (%s), our schema %d, libvirt's %d\n", name, reader, err.text,
               schema, libvirt);
        CU_FAIL("a judge disagrees");
    }
    if (reader) {
        check_written(name, config);
        config_free(config);
    } else if (!as_expected(name, strlen(name) - strlen(".xml"), err.text + strlen("f:"))) {
        printf("\n  %s: \"%s\" is not what is expected\n", name, err.text);
        CU_FAIL("another report");
    }
    free(data);
}

static int is_xml(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);

    return bytes > 4 && strcmp(entry->d_name + bytes - 4, ".xml") == 0;
}

static void test_corpus(void)
{
    unsigned int seen[KIND_COUNT] = {0};
    struct dirent **entries;
    int count = scandir(CORPUS, &entries, is_xml, alphasort);

    CU_ASSERT_TRUE_FATAL(count >= 60);
    for (int i = 0; i < count; i++) {
        const struct kind *kind = kind_of(entries[i]->d_name);

        CU_ASSERT_PTR_NOT_NULL_FATAL(kind);
        judge(entries[i]->d_name, kind);
        seen[kind - kinds]++;
        free(entries[i]);
    }
    free(entries);
    printf("(%u good, %u bad, %u refused, %u rules%s) ", seen[0], seen[1], seen[2], seen[3],
           libvirts == NULL ? "; skipped: libvirt's schema is not there" : "");
    CU_ASSERT_TRUE(seen[0] >= 30 && seen[1] >= 30);
}

/* No line is left over from a file that has gone. */
static void test_expected(void)
{
    for (const char *line = expected; *line != '\0'; line += strcspn(line, "\n") + 1) {
        char path[512];

        snprintf(path, sizeof(path), CORPUS "/%.*s.xml", (int)strcspn(line, " \n"), line);
        CU_ASSERT_EQUAL(access(path, R_OK), 0);
        CU_ASSERT_NOT_EQUAL(strncmp(line, "good-", 5), 0);
    }
}

static void test_example(void)
{
    struct err err = {0};
    size_t bytes;
    void *data;

    CU_ASSERT_EQUAL_FATAL(file_read("examples/first.xml", 65536, &data, &bytes, &err), 0);
    CU_ASSERT_TRUE(valid(ours, data, bytes));
    CU_ASSERT_TRUE(libvirts == NULL || valid(libvirts, data, bytes));
    free(data);
}

/* As the package installs it, or as scripts/fetch unpacks it. */
static void find_libvirts(void)
{
    const char *build = getenv("B");
    char path[512];

    snprintf(path, sizeof(path), "%s/x/libvirt-schemas/" LIBVIRT, build != NULL ? build : "build");
    if (access(path, R_OK) == 0) {
        libvirts = load(path);
    } else if (access("/" LIBVIRT, R_OK) == 0) {
        libvirts = load("/" LIBVIRT);
    }
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"the corpus", test_corpus},
        {"nothing left over", test_expected},
        {"the example", test_example},
        CU_TEST_INFO_NULL,
    };
    struct err err = {0};
    void *text;
    size_t bytes;

    xmlInitParser();
    xmlSetStructuredErrorFunc(NULL, silent);
    ours = load(OURS);
    find_libvirts();
    if (ours == NULL || file_read(CORPUS "/expected", 1 << 20, &text, &bytes, &err) != 0) {
        return 1;
    }
    expected = text;
    int status = run_tests("config schema", tests);

    xmlRelaxNGFree(ours);
    xmlRelaxNGFree(libvirts);
    free(expected);
    xmlCleanupParser();
    return status;
}
