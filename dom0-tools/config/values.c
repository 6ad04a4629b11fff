/* SPDX-License-Identifier: MIT */
/*
 * Strict parsers of single values. None depends on the locale, none stops at the first bad byte
 * and calls that success.
 */
#include "dom0-tools/config/values.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "dom0-tools/config/config.h"

/* Bits of the blkif numbering of virtual disks. */
#define VDEV_XVD_MAJOR 202u
#define VDEV_EXTENDED (1u << 28)

bool value_number(const char *text, uint64_t *value)
{
    uint64_t number = 0;

    if (*text == '\0') {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*text - '0'), &number)) {
            return false;
        }
    }
    *value = number;
    return true;
}

static const struct unit {
    const char *name; /* in any case */
    uint64_t bytes;
} units[] = {
    {"b", 1},
    {"byte", 1},
    {"bytes", 1},
    {"KB", 1000ull},
    {"k", 1ull << 10},
    {"KiB", 1ull << 10},
    {"MB", 1000ull * 1000},
    {"M", 1ull << 20},
    {"MiB", 1ull << 20},
    {"GB", 1000ull * 1000 * 1000},
    {"G", 1ull << 30},
    {"GiB", 1ull << 30},
    {"TB", 1000ull * 1000 * 1000 * 1000},
    {"T", 1ull << 40},
    {"TiB", 1ull << 40},
};

static const struct unit *find_unit(const char *name)
{
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcasecmp(units[i].name, name) == 0) {
            return &units[i];
        }
    }
    return NULL;
}

bool value_unit_known(const char *unit)
{
    return find_unit(unit) != NULL;
}

bool value_memory_kib(const char *text, const char *unit, uint64_t *kib)
{
    const struct unit *found = find_unit(unit != NULL ? unit : "KiB");
    uint64_t bytes;

    if (found == NULL || !value_number(text, &bytes) ||
        __builtin_mul_overflow(bytes, found->bytes, &bytes)) {
        return false;
    }
    *kib = bytes / 1024 + (bytes % 1024 != 0);
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* Two digits; the second is only looked at when the first is one, so a NUL ends it in time. */
static bool hex_byte(const char *text, uint8_t *byte)
{
    int high = hex_digit(text[0]);
    int low = high < 0 ? -1 : hex_digit(text[1]);

    if (low < 0) {
        return false;
    }
    *byte = (uint8_t)(high << 4 | low);
    return true;
}

bool value_mac(const char *text, uint8_t mac[6])
{
    static const uint8_t zeros[6];
    uint8_t bytes[6];

    for (unsigned int i = 0; i < 6; i++) {
        if (!hex_byte(text, &bytes[i]) || text[2] != (i < 5 ? ':' : '\0')) {
            return false;
        }
        text += 3;
    }
    if ((bytes[0] & 1) != 0 || memcmp(bytes, zeros, sizeof(zeros)) == 0) {
        return false;
    }
    memcpy(mac, bytes, sizeof(bytes));
    return true;
}

bool value_ip(const char *text, uint32_t *ip)
{
    struct in_addr address;

    if (inet_pton(AF_INET, text, &address) != 1) {
        return false;
    }
    *ip = ntohl(address.s_addr);
    return *ip >> 24 > 0 && *ip >> 24 < 224;
}

bool value_uuid(const char *text, uint8_t uuid[16])
{
    uint8_t bytes[16];

    bool dashes = strlen(text) == 36;

    for (unsigned int i = 0; i < 16; i++) {
        if (dashes && (i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-') {
            return false;
        }
        if (!hex_byte(text, &bytes[i])) {
            return false;
        }
        text += 2;
    }
    if (*text != '\0') {
        return false;
    }
    memcpy(uuid, bytes, sizeof(bytes));
    return true;
}

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool value_domain_name(const char *text)
{
    bool digits_only = true;
    size_t bytes = strlen(text);

    if (bytes == 0 || bytes > CONFIG_MAX_NAME_BYTES || (!is_alnum(text[0]) && text[0] != '_')) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (!is_alnum(*text) && strchr("_.+:@-", *text) == NULL) {
            return false;
        }
        digits_only = digits_only && *text >= '0' && *text <= '9';
    }
    return !digits_only;
}

bool value_interface_name(const char *text)
{
    size_t bytes = strlen(text);

    if (bytes == 0 || bytes > 15 || strcmp(text, ".") == 0 || strcmp(text, "..") == 0) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if (!is_alnum(*text) && strchr("_.-", *text) == NULL) {
            return false;
        }
    }
    return true;
}

bool value_path(const char *text)
{
    if (text[0] != '/' || text[1] == '\0' || strlen(text) >= 4096) {
        return false;
    }
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            return false;
        }
    }
    return true;
}

/*
 * "xvd", then a to z or aa to zz, then no partition or 1 to 15. The first 16 disks have numbers
 * in the old form (major 202), the others in the extended one.
 */
int config_vdev_from_target(const char *target, uint32_t *vdev)
{
    uint64_t partition = 0;
    uint32_t disk = 0;
    unsigned int letters = 0;

    if (strncmp(target, "xvd", 3) != 0) {
        return -EINVAL;
    }
    target += 3;
    while (target[letters] >= 'a' && target[letters] <= 'z' && letters < 3) {
        disk = disk * 26 + (uint32_t)(target[letters] - 'a') + 1;
        letters++;
    }
    if (letters == 0 || letters > 2) {
        return -EINVAL;
    }
    disk--;
    target += letters;
    if (*target != '\0' &&
        (*target == '0' || !value_number(target, &partition) || partition > 15)) {
        return -EINVAL;
    }
    *vdev = disk < 16 ? VDEV_XVD_MAJOR << 8 | disk << 4 | (uint32_t)partition
                      : VDEV_EXTENDED | disk << 8 | (uint32_t)partition;
    return 0;
}
