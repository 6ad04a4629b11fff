/* SPDX-License-Identifier: MIT */
/*
 * A node of every child of another, asked for together: our daemon's command "children".
 */
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/storeclient/client.h"

#define FROM_BYTES 16u

/* Puts texts one behind the other. Returns: bytes, 0 when they do not fit. */
static size_t put_texts(char *to, size_t room, const char *const texts[], size_t count)
{
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        size_t more = strlen(texts[i]) + 1;

        if (bytes + more > room) {
            return 0;
        }
        memcpy(to + bytes, texts[i], more);
        bytes += more;
    }
    return bytes;
}

/* Bytes of pairs, which end with an empty name. */
static size_t bytes_of(const char *pairs)
{
    const char *at = pairs;

    while (*at != '\0') {
        at += strlen(at) + 1;
        at += strlen(at) + 1;
    }
    return (size_t)(at - pairs);
}

char *xs_read_children(struct xs_handle *h, const char *path, const char *name)
{
    char from[FROM_BYTES] = "0";
    char *all = NULL;
    size_t have = 0;

    do {
        const char *const texts[] = {path, name, from};
        char args[512];
        size_t bytes = put_texts(args, sizeof(args), texts, 3);
        char *part =
            bytes > 0 ? xs_control_command(h, "children", args, (unsigned int)bytes) : NULL;
        size_t skip = part != NULL ? strlen(part) + 1 : 0;
        char *grown = NULL;

        /* Whoever does not go on would have us ask for ever. */
        if (part != NULL && skip <= sizeof(from) && strcmp(part, from) != 0) {
            bytes = bytes_of(part + skip);
            grown = realloc(all, have + bytes + 1);
        }
        if (grown == NULL) {
            free(part);
            free(all);
            return NULL;
        }
        all = grown;
        memcpy(from, part, skip);
        memcpy(all + have, part + skip, bytes + 1);
        have += bytes;
        free(part);
    } while (from[0] != '\0');
    return all;
}
