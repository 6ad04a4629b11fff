/* SPDX-License-Identifier: MIT */
/*
 * Texts made from the command table: help on the terminal, the manual page, bash completion.
 *
 * A row's details are paragraphs separated by an empty line; help folds them to 79 columns, the
 * manual page leaves that to man.
 */
#include <ctype.h>
#include <string.h>

#include "dom0-tools/vane/frame.h"

#define HELP_COLUMNS 79
#define OPTION_COLUMN 26

static const struct {
    enum vane_exit status;
    const char *meaning;
} exits[] = {
    {VANE_OK, "done"},
    {VANE_FAILURE, "failed for another reason than those below"},
    {VANE_USAGE, "the command line is wrong"},
    {VANE_NOT_FOUND, "there is no such domain, file or device"},
    {VANE_BAD_CONFIG, "a configuration or a kernel image is wrong"},
    {VANE_NOT_ALLOWED,
     "no hypervisor or driver for it, not the control domain, not root, or only with --unsafe"},
    {VANE_IN_USE, "a name, disk or device is in use, or a domain is busy"},
    {VANE_NO_MEMORY, "the machine has too little memory or other resources"},
    {VANE_TIMEOUT, "a guest or a device did not react in time"},
};
#define EXIT_COUNT (sizeof(exits) / sizeof(exits[0]))

/* --- help -------------------------------------------------------------------------------- */

void help_all(FILE *to)
{
    fprintf(to, "Usage: vane COMMAND [OPTION]... [OPERAND]...\n"
                "       vane help COMMAND | vane --help | vane --version\n\n"
                "Manages the guests of this machine.\n\nCommands:\n");
    for (const struct vane_command *at = frame_next(NULL); at != NULL; at = frame_next(at)) {
        fprintf(to, "  %-14s %s\n", at->name, at->summary);
    }
    fprintf(to, "\nExit status:\n");
    for (size_t i = 0; i < EXIT_COUNT; i++) {
        fprintf(to, "  %d  %s\n", (int)exits[i].status, exits[i].meaning);
    }
}

void help_group(FILE *to, const char *word)
{
    size_t bytes = strlen(word);

    fprintf(to, "Usage: vane %s COMMAND [OPTION]... [OPERAND]...\n\nCommands:\n", word);
    for (const struct vane_command *at = frame_next(NULL); at != NULL; at = frame_next(at)) {
        if (strncmp(at->name, word, bytes) == 0 && at->name[bytes] == ' ') {
            fprintf(to, "  %-14s %s\n", at->name + bytes + 1, at->summary);
        }
    }
}

/* Prints paragraphs folded at blanks. */
static void fold(FILE *to, const char *text)
{
    size_t column = 0;

    while (*text != '\0') {
        if (*text == '\n') {
            size_t breaks = strspn(text, "\n");

            fputs(breaks > 1 ? "\n\n" : "\n", to);
            text += breaks;
            column = 0;
        }
        text += strspn(text, " ");

        size_t bytes = strcspn(text, " \n");

        if (bytes == 0) {
            continue;
        }
        if (column > 0 && column + 1 + bytes > HELP_COLUMNS) {
            fputc('\n', to);
            column = 0;
        }
        column += (size_t)fprintf(to, "%s%.*s", column > 0 ? " " : "", (int)bytes, text);
        text += bytes;
    }
    fputc('\n', to);
}

static void print_option(FILE *to, const struct vane_option *option)
{
    int used =
        fprintf(to, "  -%c, --%s%s%s", option->letter, option->name,
                option->value != NULL ? "=" : "", option->value != NULL ? option->value : "");

    fprintf(to, "%*s%s\n", used < OPTION_COLUMN ? OPTION_COLUMN - used : 1, "", option->help);
}

/* A row's summary as a sentence of its own. */
static void sentence(FILE *to, const char *summary)
{
    fprintf(to, "%c%s.\n", toupper((unsigned char)summary[0]), summary + 1);
}

void help_command(FILE *to, const struct vane_command *command)
{
    fprintf(to, "Usage: vane %s%s%s%s\n\n", command->name,
            command->options != NULL || command->json ? " [OPTION]..." : "",
            *command->operands != '\0' ? " " : "", command->operands);
    sentence(to, command->summary);
    if (command->details != NULL) {
        fputc('\n', to);
        fold(to, command->details);
    }
    fprintf(to, "\nOptions:\n");
    for (const struct vane_option *at = command->options; at != NULL && at->letter != 0; at++) {
        print_option(to, at);
    }
    if (command->json) {
        fprintf(to, "      %-*s%s\n", OPTION_COLUMN - 6, "--json", "print JSON");
    }
    fprintf(to, "  %-*s%s\n", OPTION_COLUMN - 2, "-h, --help", "print this text");
}

/* --- manual page ------------------------------------------------------------------------- */

/* Text with the characters roff treats specially made harmless; empty lines start paragraphs. */
static void roff(FILE *to, const char *text)
{
    bool line_start = true;

    for (; *text != '\0'; text++) {
        if (text[0] == '\n' && text[1] == '\n') {
            fputs("\n.PP", to);
            continue;
        }
        if (line_start && (*text == '.' || *text == '\'')) {
            fputs("\\&", to);
        }
        if (*text == '-') {
            fputs("\\-", to);
        } else if (*text == '\\') {
            fputs("\\e", to);
        } else {
            fputc(*text, to);
        }
        line_start = *text == '\n';
    }
}

static void man_command(FILE *to, const struct vane_command *command)
{
    fprintf(to, ".SS ");
    roff(to, command->name);
    fprintf(to, "%s%s\n", *command->operands != '\0' ? " " : "", command->operands);
    sentence(to, command->summary);
    if (command->details != NULL) {
        fprintf(to, ".PP\n");
        roff(to, command->details);
        fputc('\n', to);
    }
    for (const struct vane_option *at = command->options; at != NULL && at->letter != 0; at++) {
        fprintf(to, ".TP\n\\fB\\-%c\\fR, \\fB\\-\\-", at->letter);
        roff(to, at->name);
        fprintf(to, "\\fR");
        if (at->value != NULL) {
            fprintf(to, "=\\fI%s\\fR", at->value);
        }
        fputc('\n', to);
        roff(to, at->help);
        fputc('\n', to);
    }
    if (command->json) {
        fprintf(to, ".TP\n\\fB\\-\\-json\\fR\nprint JSON\n");
    }
}

void help_man(FILE *to)
{
    fprintf(to, ".TH VANE 1 \"\" \"paravane %s\" \"Paravane\"\n", VANE_VERSION);
    fprintf(to, ".SH NAME\nvane \\- manage the guests of a Paravane machine\n");
    fprintf(to, ".SH SYNOPSIS\n.B vane\n\\fICOMMAND\\fR [\\fIOPTION\\fR]... "
                "[\\fIOPERAND\\fR]...\n");
    fprintf(to, ".SH DESCRIPTION\nRuns in the control domain, as root. A \\fIDOMAIN\\fR is given "
                "by its name or its number. Errors are one line on standard error.\n");
    fprintf(to, ".SH COMMANDS\n");
    for (const struct vane_command *at = frame_next(NULL); at != NULL; at = frame_next(at)) {
        man_command(to, at);
    }
    fprintf(to, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < EXIT_COUNT; i++) {
        fprintf(to, ".TP\n.B %d\n", (int)exits[i].status);
        roff(to, exits[i].meaning);
        fputc('\n', to);
    }
}

/* --- completion -------------------------------------------------------------------------- */

static void completion_options(FILE *to, const struct vane_command *command)
{
    fprintf(to, "        '%s') options='--help%s", command->name, command->json ? " --json" : "");
    for (const struct vane_option *at = command->options; at != NULL && at->letter != 0; at++) {
        fprintf(to, " --%s", at->name);
    }
    fprintf(to, "'; valued='");
    for (const struct vane_option *at = command->options; at != NULL && at->letter != 0; at++) {
        if (at->value != NULL) {
            fprintf(to, " -%c --%s", at->letter, at->name);
        }
    }
    fprintf(to, "'; operands=(");
    for (const char *at = command->operands; *at != '\0'; at++) {
        if (strchr("[].", *at) == NULL) {
            fputc(*at, to);
        }
    }
    fprintf(to, ") ;;\n");
}

/* First words of all names, each once; or the second words of a group's. */
static void completion_words(FILE *to, const char *group)
{
    const struct vane_command *before = NULL;

    for (const struct vane_command *at = frame_next(NULL); at != NULL; at = frame_next(at)) {
        size_t bytes = strcspn(at->name, " ");

        if (group != NULL) {
            if (at->name[bytes] == ' ' && strlen(group) == bytes &&
                strncmp(at->name, group, bytes) == 0) {
                fprintf(to, " %s", at->name + bytes + 1);
            }
        } else if (before == NULL || strncmp(before->name, at->name, bytes + 1) != 0) {
            fprintf(to, " %.*s", (int)bytes, at->name);
        }
        before = at;
    }
}

static void completion_groups(FILE *to)
{
    const struct vane_command *before = NULL;

    for (const struct vane_command *at = frame_next(NULL); at != NULL; at = frame_next(at)) {
        size_t bytes = strcspn(at->name, " ");
        char group[32];

        if (at->name[bytes] == ' ' &&
            (before == NULL || strncmp(before->name, at->name, bytes + 1) != 0)) {
            snprintf(group, sizeof(group), "%.*s", (int)bytes, at->name);
            fprintf(to, "        %s) second='", group);
            completion_words(to, group);
            fprintf(to, "' ;;\n");
        }
        before = at;
    }
}

void help_completion(FILE *to)
{
    fprintf(to, "# bash completion for vane, made from its command table\n"
                "_vane()\n{\n"
                "    local word=${COMP_WORDS[COMP_CWORD]} at=1 command second options valued\n"
                "    local operands i value= n=0 names\n"
                "    COMPREPLY=()\n"
                "    if [ \"$COMP_CWORD\" -gt 1 ] && [ \"${COMP_WORDS[1]}\" = help ]; then\n"
                "        at=2\n"
                "    fi\n"
                "    if [ \"$COMP_CWORD\" -eq \"$at\" ]; then\n"
                "        COMPREPLY=($(compgen -W 'help");
    completion_words(to, NULL);
    fprintf(to, " --help --version' -- \"$word\"))\n        return\n    fi\n"
                "    command=${COMP_WORDS[at]}\n"
                "    case $command in\n");
    completion_groups(to);
    fprintf(to, "    esac\n"
                "    if [ -n \"$second\" ]; then\n"
                "        if [ \"$COMP_CWORD\" -eq $((at + 1)) ]; then\n"
                "            COMPREPLY=($(compgen -W \"$second --help\" -- \"$word\"))\n"
                "            return\n"
                "        fi\n"
                "        command=\"$command ${COMP_WORDS[at + 1]}\"\n"
                "    fi\n"
                "    [ \"$at\" -eq 1 ] || return\n"
                "    i=$((at + 1))\n"
                "    [ -z \"$second\" ] || i=$((i + 1))\n"
                "    case $command in\n");
    for (const struct vane_command *at = frame_next(NULL); at != NULL; at = frame_next(at)) {
        completion_options(to, at);
    }
    fprintf(to,
            "        *) return ;;\n    esac\n"
            "    case $word in\n"
            "        -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ; return ;;\n"
            "    esac\n"
            "    # Which operand it is, or the value of an option. bash cuts words at =.\n"
            "    for (( ; i < COMP_CWORD; i++)); do\n"
            "        case ${COMP_WORDS[i]} in\n"
            "            =) value=1 ;;\n"
            "            -*) case \"$valued \" in\n"
            "                    *\" ${COMP_WORDS[i]} \"*) value=1 ;;\n"
            "                    *) value= ;;\n"
            "                esac ;;\n"
            "            *) [ -n \"$value\" ] || n=$((n + 1)) ; value= ;;\n"
            "        esac\n"
            "    done\n"
            "    [ \"$word\" != = ] || word=\n"
            "    [ \"$operands\" != FILE ] || n=0\n"
            "    case ${value:+value}$command:${operands[n]} in\n"
            "        value*) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
            "        store*:PATH | rename:NAME) ;;\n"
            "        *:DOMAIN | *:NAME)\n"
            "            names=$(vane list --quiet 2>/dev/null)\n"
            "            [ \"${operands[n]}\" = DOMAIN ] ||\n"
            "                names+=\" $(vane defined 2>/dev/null | sed '1d;s/ .*//')\"\n"
            "            COMPREPLY=($(compgen -W \"$names\" -- \"$word\")) ;;\n"
            "        *:FILE | *:PATH | *:IN | *:OUT) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n"
            "    esac\n}\n"
            "complete -o filenames -F _vane vane\n");
}
