/* SPDX-License-Identifier: MIT */
/*
 * Entry of the admin program: finds the command's row, parses its options, runs it.
 *
 * A name is one word, or two of which the first is a group's ("disk attach"). What comes behind may
 * be in any order, "--" ends the options. What is wrong on
 * the command line is said in one line and ends with VANE_USAGE before the command did anything.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/vane/frame.h"

/* getopt's codes for options without a letter. */
enum {
    CODE_JSON = 256,
    CODE_HELP = 'h',
};

static const struct vane_command *const groups[] = {
    vane_commands_see,  vane_commands_life,    vane_commands_define, vane_commands_guest,
    vane_commands_cpu,  vane_commands_top,     vane_commands_image,  vane_commands_convert,
    vane_commands_disk, vane_commands_net,     vane_commands_store,  vane_commands_host,
    vane_commands_core, vane_commands_balloon, vane_commands_events, vane_commands_stats,
    vane_commands_pci,
};
#define GROUP_COUNT (sizeof(groups) / sizeof(groups[0]))

const struct vane_command *frame_next(const struct vane_command *command)
{
    if (command == NULL) {
        return groups[0];
    }
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        for (const struct vane_command *at = groups[i]; at->name != NULL; at++) {
            if (at == command) {
                return at[1].name != NULL ? at + 1 : i + 1 < GROUP_COUNT ? groups[i + 1] : NULL;
            }
        }
    }
    return NULL;
}

const struct vane_command *frame_find(const char *name)
{
    const struct vane_command *at = frame_next(NULL);

    while (at != NULL && strcmp(at->name, name) != 0) {
        at = frame_next(at);
    }
    return at;
}

bool frame_is_group(const char *word)
{
    size_t bytes = strlen(word);
    const struct vane_command *at = frame_next(NULL);

    while (at != NULL && (strncmp(at->name, word, bytes) != 0 || at->name[bytes] != ' ')) {
        at = frame_next(at);
    }
    return at != NULL;
}

/* Both forms of a command's options as getopt_long() wants them. */
struct forms {
    char letters[2 * VANE_MAX_OPTIONS + 4];
    struct option words[VANE_MAX_OPTIONS + 3];
};

static void make_forms(const struct vane_command *command, struct forms *forms)
{
    const struct vane_option *option = command->options;
    size_t letters = 0;
    size_t words = 0;

    memset(forms, 0, sizeof(*forms));
    forms->letters[letters++] = ':';
    forms->letters[letters++] = CODE_HELP;
    forms->words[words++] = (struct option){"help", no_argument, NULL, CODE_HELP};
    if (command->json) {
        forms->words[words++] = (struct option){"json", no_argument, NULL, CODE_JSON};
    }
    for (; option != NULL && option->letter != 0 && words < VANE_MAX_OPTIONS + 2; option++) {
        int takes = option->value != NULL ? required_argument : no_argument;

        forms->words[words++] = (struct option){option->name, takes, NULL, option->letter};
        forms->letters[letters++] = option->letter;
        if (takes == required_argument) {
            forms->letters[letters++] = ':';
        }
    }
}

static int usage_error(const struct vane_command *command, const char *what, const char *word)
{
    vane_error("%s: %s%s%s (try: vane help %s)", command->name, what, word != NULL ? " " : "",
               word != NULL ? word : "", command->name);
    return VANE_USAGE;
}

/* What getopt has not taken; `word` is what it looked at last. */
static int option_error(const struct vane_command *command, const struct forms *forms,
                        const char *word)
{
    const char letter[] = {'-', (char)optopt, '\0'};
    unsigned int meanings = 0;

    for (const struct option *at = forms->words; at->name != NULL; at++) {
        if (optopt == 0) { /* `word` begins with two dashes */
            meanings += strncmp(at->name, word + 2, strcspn(word + 2, "=")) == 0 ? 1 : 0;
        } else if (at->val == optopt) {
            return usage_error(command, "option without a value has one:", word);
        }
    }
    return usage_error(command, meanings > 1 ? "option with several meanings:" : "unknown option",
                       optopt == 0 ? word : letter);
}

/* What is missing of a row's operands, that which need not be there left out. */
static int missing_error(const struct vane_args *args)
{
    const char *missing = args->command->operands;
    char text[64];

    for (int i = 0; i < args->count; i++) {
        missing += strcspn(missing, " ");
        missing += strspn(missing, " ");
    }
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(missing, "["), missing);
    for (size_t end = strlen(text); end > 0 && text[end - 1] == ' ';) {
        text[--end] = '\0';
    }
    return usage_error(args->command, "missing operand:", text);
}

/* Returns: the option's name if it has been there before, else NULL. */
static const char *take_option(struct vane_args *args, int code)
{
    const char *twice = NULL;

    for (size_t i = 0; args->command->options[i].letter != 0; i++) {
        if (args->command->options[i].letter == code) {
            twice = args->values[i] != NULL ? args->command->options[i].name : NULL;
            args->values[i] = optarg != NULL ? optarg : "";
        }
    }
    return twice;
}

/* Parses what stands behind the command's name. Returns: -1 to run the command, else its status. */
static int parse(int argc, char **argv, struct vane_args *args)
{
    const struct vane_command *command = args->command;
    const char *twice = NULL;
    struct forms forms;
    int code;

    make_forms(command, &forms);
    opterr = 0;
    while ((code = getopt_long(argc, argv, forms.letters, forms.words, NULL)) != -1) {
        switch (code) {
        case CODE_HELP:
            help_command(stdout, command);
            return VANE_OK;
        case CODE_JSON:
            args->json = true;
            break;
        case '?':
            return option_error(command, &forms, argv[optind - 1]);
        case ':':
            return usage_error(command, "option without its value:", argv[optind - 1]);
        default:
            twice = twice != NULL ? twice : take_option(args, code);
            break;
        }
    }
    if (twice != NULL) {
        return usage_error(command, "option given twice:", twice);
    }
    args->count = argc - optind;
    args->operands = argv + optind;
    if (args->count < command->min_operands) {
        return missing_error(args);
    }
    if (args->count > command->max_operands) {
        return usage_error(command, "surplus operand:", args->operands[command->max_operands]);
    }
    return -1;
}

/* The row whose name the first words are, and how many words that takes; NULL after a report. */
static const struct vane_command *find_words(int count, char **words, int *used)
{
    const struct vane_command *command = frame_find(words[0]);
    char name[64];

    *used = 1;
    if (command != NULL) {
        return command;
    }
    if (!frame_is_group(words[0])) {
        vane_error("unknown %s '%s' (try: vane --help)", words[0][0] == '-' ? "option" : "command",
                   words[0]);
        return NULL;
    }
    *used = 2;
    if (count < 2) {
        vane_error("%s: a command's second word is missing (try: vane help %s)", words[0],
                   words[0]);
        return NULL;
    }
    if (snprintf(name, sizeof(name), "%s %s", words[0], words[1]) < (int)sizeof(name)) {
        command = frame_find(name);
    }
    if (command == NULL) {
        vane_error("unknown command '%s %s' (try: vane help %s)", words[0], words[1], words[0]);
    }
    return command;
}

static int run_help(int argc, char **argv)
{
    const struct vane_command *command;
    int used;

    if (argc < 2) {
        help_all(stdout);
        return VANE_OK;
    }
    if (argc == 2 && frame_is_group(argv[1]) && frame_find(argv[1]) == NULL) {
        help_group(stdout, argv[1]);
        return VANE_OK;
    }
    command = find_words(argc - 1, argv + 1, &used);
    if (command == NULL) {
        return VANE_USAGE;
    }
    if (argc - 1 > used) {
        vane_error("help: surplus operand: %s (try: vane help %s)", argv[1 + used], command->name);
        return VANE_USAGE;
    }
    help_command(stdout, command);
    return VANE_OK;
}

static int run(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;

    if (word == NULL) {
        help_all(stderr);
        return VANE_USAGE;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        return run_help(argc - 1, argv + 1);
    }
    if (strcmp(word, "--version") == 0) {
        printf("vane %s\n", VANE_VERSION);
        return VANE_OK;
    }
    if (strcmp(word, "--generate-man") == 0) {
        help_man(stdout);
        return VANE_OK;
    }
    if (strcmp(word, "--generate-completion") == 0) {
        help_completion(stdout);
        return VANE_OK;
    }

    if (argc > 2 && frame_is_group(word) &&
        (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
        help_group(stdout, word);
        return VANE_OK;
    }

    int used;
    struct vane_args args = {.command = find_words(argc - 1, argv + 1, &used)};

    if (args.command == NULL) {
        return VANE_USAGE;
    }

    int status = parse(argc - used, argv + used, &args);

    return status >= 0 ? status : args.command->run(&args);
}

int main(int argc, char **argv)
{
    int status = run(argc, argv);

    if ((fflush(stdout) != 0 || ferror(stdout)) && status == VANE_OK) {
        vane_error("cannot write to standard output");
        status = VANE_FAILURE;
    }
    return status;
}
