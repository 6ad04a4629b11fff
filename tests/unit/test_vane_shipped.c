/* SPDX-License-Identifier: MIT */
/*
 * The static `vane` as it is shipped, which has parts of its libraries left out: what it reads all
 * the same, and that it has stayed small. Most of what it takes to run a command is its start.
 */
#include <CUnit/Basic.h>
#include <elf.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/runner.h"

#define KIB 1024u

static char program[4096];
static char folder[] = "/tmp/test_vane_shipped.XXXXXX";

/* Has vane turn a guest's XML, written in some encoding, into xl's form. Returns: its status; *name
 * is whether the guest's name was read. */
static int converted(const char *encoding, const char *from, bool *name)
{
    static const char *const xml =
        "<domain type='xen'><name>shipped</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>"
        "<uuid>0f6d8ac3-2f0c-4a05-9c2b-8f6f3c7b1a11</uuid><description>gr\u00fcn</description>"
        "<os><type arch='x86_64' machine='xenpv'>linux</type><kernel>/k</kernel></os></domain>";
    char command[8192];
    char text[4096];

    snprintf(command, sizeof(command),
             "cd %s && echo \"<?xml version='1.0' encoding='%s'?>%s\" | "
             "iconv -f UTF-8 -t %s >x.xml && '%s' convert x.xml >out 2>err",
             folder, encoding, xml, from, program);

    int status = system(command);

    snprintf(text, sizeof(text), "grep -q '^name = \"shipped\"' %s/out", folder);
    *name = system(text) == 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_shipped__encodings(void)
{
    bool name;

    CU_ASSERT_TRUE(converted("UTF-8", "UTF-8", &name) == 0 && name);
    CU_ASSERT_TRUE(converted("ISO-8859-1", "ISO-8859-1", &name) == 0 && name);
    /* Of these ICU would know one. */
    CU_ASSERT_TRUE(converted("SCSU", "UTF-8", &name) != 0 && !name);
    CU_ASSERT_TRUE(converted("none-such", "UTF-8", &name) != 0 && !name);
}

/* What is written at each start is a fault and a copy for each page; code that is there lies
 * between that which runs. */
static void test_shipped__size(void)
{
    FILE *file = fopen(program, "r");
    Elf64_Ehdr head;
    size_t code = 0, relocated = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fread(&head, sizeof(head), 1, file), 1);
    CU_ASSERT_EQUAL(head.e_type, ET_DYN); /* it can be put anywhere */
    for (unsigned int i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr part;

        fseek(file, (long)(head.e_phoff + i * sizeof(part)), SEEK_SET);
        CU_ASSERT_EQUAL_FATAL(fread(&part, sizeof(part), 1, file), 1);
        code += part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0 ? part.p_filesz : 0;
        relocated += part.p_type == PT_GNU_RELRO ? part.p_filesz : 0;
    }
    fclose(file);
    CU_ASSERT_TRUE(relocated > 0 && relocated <= 40 * KIB);
    CU_ASSERT_TRUE(code > 0 && code <= 2200 * KIB);
}

/* What each start runs is in a part of its own, of a few mappings. */
static void test_shipped__order(void)
{
    FILE *file = fopen(program, "r");
    Elf64_Ehdr head;
    Elf64_Shdr names;
    bool found = false;

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL_FATAL(fread(&head, sizeof(head), 1, file), 1);
    fseek(file, (long)(head.e_shoff + head.e_shstrndx * sizeof(names)), SEEK_SET);
    CU_ASSERT_EQUAL_FATAL(fread(&names, sizeof(names), 1, file), 1);
    for (unsigned int i = 0; i < head.e_shnum; i++) {
        Elf64_Shdr part;
        char name[16] = "";

        fseek(file, (long)(head.e_shoff + i * sizeof(part)), SEEK_SET);
        CU_ASSERT_EQUAL_FATAL(fread(&part, sizeof(part), 1, file), 1);
        fseek(file, (long)(names.sh_offset + part.sh_name), SEEK_SET);
        CU_ASSERT_TRUE(fread(name, 1, sizeof(name) - 1, file) > 0);
        if (strcmp(name, ".text.often") == 0) {
            found = true;
            CU_ASSERT_TRUE(part.sh_size > 400 * KIB && part.sh_size < 900 * KIB);
            CU_ASSERT_TRUE(head.e_entry >= part.sh_addr &&
                           head.e_entry < part.sh_addr + part.sh_size);
        }
    }
    fclose(file);
    CU_ASSERT_TRUE(found);
}

static int start(void)
{
    return mkdtemp(folder) != NULL ? 0 : 1;
}

static int end(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {{"encodings", test_shipped__encodings},
                           {"size", test_shipped__size},
                           {"order", test_shipped__order},
                           CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"the shipped vane", start, end, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    char here[2048];

    (void)argc;
    if (realpath(dirname(argv[0]), here) == NULL) {
        return 1;
    }
    snprintf(program, sizeof(program), "%s/../vane", here);
    return run_suites(suites);
}
