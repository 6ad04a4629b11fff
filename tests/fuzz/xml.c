/* SPDX-License-Identifier: MIT */
/*
 * dom0-tools/config: a guest's XML. The input is the document. What is accepted must keep to the
 * limits config.h promises, and nothing outside the document may be opened.
 */
#include <errno.h>
#include <libxml/parser.h>

#include "dom0-tools/config/config.h"
#include "fuzz.h"

const size_t fuzz_max_bytes = 8192;

static xmlParserInputPtr refuse(const char *url, const char *id, xmlParserCtxtPtr context)
{
    (void)id, (void)context;
    dprintf(2, "FUZZ CHECK failed: the reader opens %s\n", url ? url : "something");
    abort();
}

void fuzz_start(void)
{
    xmlInitParser();
    stderr = fopen("/dev/null", "w"); /* libxml's opinion of damaged encodings */
    xmlSetExternalEntityLoader(refuse);
}

static void check_devices(const struct vane_config *c)
{
    FUZZ_CHECK(c->disk_count <= CONFIG_MAX_DISKS && c->net_count <= CONFIG_MAX_NETS);
    for (size_t i = 0; i < c->disk_count; i++) {
        uint32_t vdev;
        FUZZ_CHECK(c->disks[i].path && c->disks[i].path[0] == '/');
        FUZZ_CHECK(c->disks[i].target && config_vdev_from_target(c->disks[i].target, &vdev) == 0);
        FUZZ_CHECK(vdev == c->disks[i].vdev);
        FUZZ_CHECK(!c->disks[i].cdrom || c->disks[i].readonly);
        for (size_t other = 0; other < i; other++) {
            FUZZ_CHECK(strcmp(c->disks[i].target, c->disks[other].target));
        }
    }
    for (size_t i = 0; i < c->net_count; i++) {
        FUZZ_CHECK(c->nets[i].bridge && !(c->nets[i].mac[0] & 1));
        for (size_t other = 0; other < i; other++) {
            FUZZ_CHECK(memcmp(c->nets[i].mac, c->nets[other].mac, 6));
        }
    }
}

static void check_config(const struct vane_config *c)
{
    FUZZ_CHECK(c->name && strlen(c->name) <= CONFIG_MAX_NAME_BYTES);
    FUZZ_CHECK(c->name[0] && !strpbrk(c->name, "/ \n\t") && c->name[strspn(c->name, "0123456789")]);
    FUZZ_CHECK(c->memory_kib >= CONFIG_MIN_MEMORY_KIB && c->memory_kib <= CONFIG_MAX_MEMORY_KIB);
    FUZZ_CHECK(c->current_memory_kib && c->current_memory_kib <= c->memory_kib);
    FUZZ_CHECK(c->vcpus >= 1 && c->vcpus <= CONFIG_MAX_VCPUS);
    FUZZ_CHECK(c->current_vcpus >= 1 && c->current_vcpus <= c->vcpus);
    FUZZ_CHECK(c->kernel && c->kernel[0] == '/');
    FUZZ_CHECK(!c->ramdisk || c->ramdisk[0] == '/');
    FUZZ_CHECK(c->cmdline && strlen(c->cmdline) <= CONFIG_MAX_CMDLINE_BYTES);
    FUZZ_CHECK(config_action_name(c->on_poweroff) && config_action_name(c->on_reboot) &&
               config_action_name(c->on_crash));
    check_devices(c);
}

void fuzz_one(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = fuzz_copy(data, bytes);
    struct vane_config *config = NULL;
    struct err err = {0};
    int rc = config_parse("fuzz.xml", copy, bytes, &config, &err);
    if (rc == 0) {
        check_config(config);
        config_free(config);
    } else {
        FUZZ_CHECK(config == NULL);
        FUZZ_CHECK(rc == -EBADMSG || rc == -EFBIG);
        FUZZ_CHECK(err.number == -rc && err.text[0]);
    }
    free(copy);
}
