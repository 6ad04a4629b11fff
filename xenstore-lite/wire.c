// SPDX-License-Identifier: MIT
/*
 * Message framing and checks. See wire.h.
 */
#include "xenstore-lite/wire.h"

#include <stdio.h>
#include <string.h>

#define PATH_CHARS                                                                                 \
    "abcdefghijklmnopqrstuvwxyz"                                                                   \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"                                                                   \
    "0123456789-/_@"

void *wire_want(struct wire_in *in, size_t *len)
{
    if (in->got < sizeof(in->hdr)) {
        *len = sizeof(in->hdr) - in->got;
        return (char *)&in->hdr + in->got;
    }
    *len = in->hdr.len - (in->got - sizeof(in->hdr));
    return in->body + (in->got - sizeof(in->hdr));
}

int wire_got(struct wire_in *in, size_t len)
{
    in->got += len;
    if (in->got < sizeof(in->hdr)) {
        return 0;
    }
    if (in->hdr.len > XENSTORE_PAYLOAD_MAX) {
        return -EPROTO;
    }
    if (in->got < sizeof(in->hdr) + in->hdr.len) {
        return 0;
    }
    in->body[in->hdr.len] = '\0';
    return 1;
}

void wire_reset(struct wire_in *in)
{
    in->got = 0;
}

int wire_strings(const char *body, size_t len, const char **argv, int max)
{
    int count = 0;

    if (len > 0 && body[len - 1] != '\0') {
        return -EINVAL;
    }
    for (size_t at = 0; at < len; at += strlen(body + at) + 1) {
        if (count < max) {
            argv[count] = body + at;
        }
        count++;
    }
    return count;
}

void wire_home(uint16_t domid, char out[32])
{
    snprintf(out, 32, "/local/domain/%u", domid);
}

int wire_path(const char *path, uint16_t domid, bool special, char out[WIRE_PATH_ROOM])
{
    size_t len = strlen(path), at = 0;

    if (path[0] == '\0' || strspn(path, PATH_CHARS) != len) {
        return -EINVAL;
    }
    if (path[0] == '@') {
        if (!special || len > XENSTORE_REL_PATH_MAX) {
            return -EINVAL;
        }
    } else if (path[0] != '/') {
        if (len > XENSTORE_REL_PATH_MAX) {
            return -EINVAL;
        }
        wire_home(domid, out);
        at = strlen(out);
        out[at++] = '/';
    }
    if (at + len > XENSTORE_ABS_PATH_MAX || strstr(path, "//")) {
        return -EINVAL;
    }
    if (len > 1 && path[len - 1] == '/') {
        return -EINVAL;
    }
    memcpy(out + at, path, len + 1);
    return 0;
}

int wire_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;

    if (!*text) {
        return -EINVAL;
    }
    for (; *text; text++) {
        unsigned int digit = (unsigned int)(*text - '0');

        if (digit > 9 || n > max / 10 || n * 10 > max - digit) {
            return -EINVAL;
        }
        n = n * 10 + digit;
    }
    *out = n;
    return 0;
}

const char *wire_error_name(int err)
{
    for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++) {
        if (xsd_errors[i].errnum == err) {
            return xsd_errors[i].errstring;
        }
    }
    return "EINVAL";
}
