/* SPDX-License-Identifier: MIT */
/*
 * What the settings of an xl configuration file mean.
 *
 * A table names the keys that are done and who takes them; another the keys that xl has and we do
 * not do, with the reason. The result is written as XML and read again by the reader of XML, so
 * that both forms of a guest obey one set of rules and limits.
 */
#include "dom0-tools/config/xlcfg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/values.h"
#include "dom0-tools/config/xlcfg_internal.h"

#define KIB_PER_MIB 1024u

/* What becomes a part of the configuration only when all settings are known. */
struct draft {
    struct xl_file *file;
    struct vane_config *config;
    const struct xl_setting *maxmem;
    const struct xl_setting *maxvcpus;
    const struct xl_setting *cpus;
    const char *root;    /* texts of the file, NULL if absent */
    const char *extra;   /* the same */
    const char *cmdline; /* the same */
    unsigned int line;   /* of the last of these three */
    bool memory;         /* memory= was there */
    bool vcpus;          /* vcpus= was there */
};

struct key {
    const char *name;
    bool list; /* may be a list; all others are one string or number */
    int (*take)(struct draft *draft, const struct xl_setting *setting);
};

static const char *text_of(const struct xl_setting *setting)
{
    return setting->items[0].text;
}

static int keep(struct draft *draft, const struct xl_setting *setting, char **to)
{
    *to = strdup(text_of(setting));
    return *to != NULL ? 0 : xl_no_memory(draft->file);
}

/* --- single values ----------------------------------------------------------------------- */

/* Decimal, or hexadecimal with 0x; a leading zero would be octal to xl, and is meant by nobody. */
static int number_of(struct draft *draft, const struct xl_setting *setting, uint64_t min,
                     uint64_t max, uint64_t *number)
{
    const char *text = text_of(setting);
    bool hex = strncmp(text, "0x", 2) == 0 && strlen(text) <= 10 &&
               text[2 + strspn(text + 2, "0123456789abcdefABCDEF")] == '\0' && text[2] != '\0';

    if (hex) {
        *number = strtoull(text, NULL, 16);
    } else if ((text[0] == '0' && text[1] != '\0') || !value_number(text, number)) {
        return xl_error(draft->file, setting->line, "%s: '%.64s' is not a number", setting->key,
                        text);
    }
    if (*number < min || *number > max) {
        return xl_error(draft->file, setting->line, "%s: %.64s is not between %llu and %llu",
                        setting->key, text, (unsigned long long)min, (unsigned long long)max);
    }
    return 0;
}

static int take_name(struct draft *draft, const struct xl_setting *setting)
{
    if (!value_domain_name(text_of(setting))) {
        return xl_error(draft->file, setting->line, "name: '%.80s' cannot be the name of a guest",
                        text_of(setting));
    }
    return keep(draft, setting, &draft->config->name);
}

static int take_uuid(struct draft *draft, const struct xl_setting *setting)
{
    if (!value_uuid(text_of(setting), draft->config->uuid)) {
        return xl_error(draft->file, setting->line, "uuid: '%.64s' is no uuid", text_of(setting));
    }
    draft->config->uuid_given = true;
    return 0;
}

/* No other kinds of guests than paravirtualized ones; builder= is the older word for it. */
static int take_type(struct draft *draft, const struct xl_setting *setting)
{
    const char *text = text_of(setting);
    bool pv = *setting->key == 't' ? strcmp(text, "pv") == 0
                                   : strcmp(text, "generic") == 0 || strcmp(text, "linux") == 0;

    return pv ? 0
              : xl_error(draft->file, setting->line, "%s: '%.64s' is not done: only type=\"pv\"",
                         setting->key, text);
}

static int take_path(struct draft *draft, const struct xl_setting *setting)
{
    if (!value_path(text_of(setting))) {
        return xl_error(draft->file, setting->line, "%s: '%.200s' is not an absolute path",
                        setting->key, text_of(setting));
    }
    return keep(draft, setting,
                *setting->key == 'k' ? &draft->config->kernel : &draft->config->ramdisk);
}

static int take_words(struct draft *draft, const struct xl_setting *setting)
{
    const char **to = *setting->key == 'r'   ? &draft->root
                      : *setting->key == 'e' ? &draft->extra
                                             : &draft->cmdline;

    *to = text_of(setting);
    draft->line = setting->line;
    return 0;
}

static int take_memory(struct draft *draft, const struct xl_setting *setting)
{
    uint64_t mib = 0;
    int rc = number_of(draft, setting, CONFIG_MIN_MEMORY_KIB / KIB_PER_MIB,
                       CONFIG_MAX_MEMORY_KIB / KIB_PER_MIB, &mib);

    if (rc == 0 && *setting->key == 'm' && setting->key[1] == 'a') {
        draft->maxmem = setting;
        draft->config->memory_kib = mib * KIB_PER_MIB;
    } else if (rc == 0) {
        draft->memory = true;
        draft->config->current_memory_kib = mib * KIB_PER_MIB;
    }
    return rc;
}

static int take_vcpus(struct draft *draft, const struct xl_setting *setting)
{
    uint64_t number = 0;
    int rc = number_of(draft, setting, 1, CONFIG_MAX_VCPUS, &number);

    if (*setting->key == 'm') {
        draft->maxvcpus = setting;
        draft->config->vcpus = (unsigned int)number;
    } else {
        draft->vcpus = true;
        draft->config->current_vcpus = (unsigned int)number;
    }
    return rc;
}

static int take_cpus(struct draft *draft, const struct xl_setting *setting)
{
    draft->cpus = setting;
    return 0;
}

static int take_weight(struct draft *draft, const struct xl_setting *setting)
{
    uint64_t number = 0;
    int rc = number_of(draft, setting, 1, CONFIG_MAX_WEIGHT, &number);

    draft->config->weight = (unsigned int)number;
    return rc;
}

static int take_cap(struct draft *draft, const struct xl_setting *setting)
{
    uint64_t number = 0;
    int rc = number_of(draft, setting, 0, 100u * CPUSET_MAX, &number);

    draft->config->cap = (unsigned int)number;
    return rc;
}

static int take_action(struct draft *draft, const struct xl_setting *setting)
{
    struct vane_config *config = draft->config;
    enum vane_action *to = strcmp(setting->key, "on_poweroff") == 0 ? &config->on_poweroff
                           : strcmp(setting->key, "on_reboot") == 0 ? &config->on_reboot
                                                                    : &config->on_crash;

    if (config_action_from_name(text_of(setting), to) != 0 ||
        (*to >= VANE_ACTION_COREDUMP_DESTROY && to != &config->on_crash)) {
        return xl_error(draft->file, setting->line, "%s: '%.64s' is not done", setting->key,
                        text_of(setting));
    }
    return 0;
}

static int take_devices(struct draft *draft, const struct xl_setting *setting)
{
    int (*const read)(struct xl_file * file, const struct xl_item *item,
                      struct vane_config *config) = *setting->key == 'd'   ? xl_read_disk
                                                    : *setting->key == 'v' ? xl_read_vif
                                                                           : xl_read_pci;
    int rc = 0;

    if (!setting->is_list) {
        return xl_error(draft->file, setting->line, "%s: must be a list in [ ]", setting->key);
    }
    for (size_t i = 0; rc == 0 && i < setting->count; i++) {
        rc = read(draft->file, &setting->items[i], draft->config);
    }
    return rc;
}

/* --- tables ------------------------------------------------------------------------------ */

static const struct key keys[] = {
    {"name", false, take_name},          {"uuid", false, take_uuid},
    {"type", false, take_type},          {"builder", false, take_type},
    {"kernel", false, take_path},        {"ramdisk", false, take_path},
    {"cmdline", false, take_words},      {"root", false, take_words},
    {"extra", false, take_words},        {"memory", false, take_memory},
    {"maxmem", false, take_memory},      {"vcpus", false, take_vcpus},
    {"maxvcpus", false, take_vcpus},     {"cpus", true, take_cpus},
    {"cpu_weight", false, take_weight},  {"cap", false, take_cap},
    {"on_poweroff", false, take_action}, {"on_reboot", false, take_action},
    {"on_crash", false, take_action},    {"disk", true, take_devices},
    {"vif", true, take_devices},         {"pci", true, take_devices},
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

/* What else xl's manual page has, and why not. A list that is empty asks for nothing. */
static const struct {
    const char *reason;
    const char *names; /* with a blank before and behind each */
} refused[] = {
    {"name kernel and ramdisk instead; nothing is read from a guest's disk to start it",
     " bootloader bootloader_args bootloader_restrict bootloader_user firmware "},
    {"a paravirtualized guest has none",
     " acpi acpi_firmware altp2m apic apic_assist assisted bios boot cmos device_model_args "
     "device_model_args_hvm device_model_override device_model_stubdomain_override "
     "device_model_version gfx_passthru hap hdtype hpet hvm_alt_tsc mca_caps mmio_hole ms_vm_genid "
     "nested nestedhvm nx pae serial shadow_memory smbios_firmware soundhw spice spicehost "
     "spiceport stdvga system_firmware timer_mode usb usbdevice vga videoram viridian vnc "
     "vncconsole vncdisplay vnclisten vncpasswd vncunused vpt_align xen_platform_pci sdl opengl "
     "nographic keymap localtime "},
    {"this kind of device is not done",
     " vfb vkb vtpm vdispl vsnd p9 pvcalls channel usbctrl usbdev usb_controllers rdm argo "
     "virtio "},
    {"nothing of the machine's is given to guests", " ioports iomem irqs dtdev "
                                                    "passthrough "},
    {"not done",
     " pci_msitranslate pci_permissive pci_power_mgmt pci_seize pool cpus_soft vnuma "
     "numa_placement seclabel device_model_user nomigrate driver_domain "
     "max_grant_frames max_maptrack_frames max_grant_version max_event_channels "
     "event_channels e820_host claim_mode tsc_mode rtc_timeoffset on_watchdog on_soft_reset "
     "latency cpuid cpuid_policy suspend_cancel init_seclabel vmtrace_buf_kb vpmu "
     "xenstore_feature_mask xenstore_quota xend_suspend_evtchn_compat exec tee "
     "xenpaging_file actmem "},
};
#define REFUSED_COUNT (sizeof(refused) / sizeof(refused[0]))

static int refuse(struct draft *draft, const struct xl_setting *setting)
{
    char word[80];

    snprintf(word, sizeof(word), " %s ", setting->key);
    for (size_t i = 0; i < REFUSED_COUNT; i++) {
        if (strstr(refused[i].names, word) != NULL) {
            return setting->is_list && setting->count == 0
                       ? 0
                       : xl_error(draft->file, setting->line, "%s: %s", setting->key,
                                  refused[i].reason);
        }
    }
    return xl_error(draft->file, setting->line, "%s: unknown setting", setting->key);
}

static int take(struct draft *draft, const struct xl_setting *setting)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].name, setting->key) == 0) {
            return setting->is_list && !keys[i].list
                       ? xl_error(draft->file, setting->line, "%s: must not be a list",
                                  setting->key)
                       : keys[i].take(draft, setting);
        }
    }
    return refuse(draft, setting);
}

/* --- what depends on several ------------------------------------------------------------- */

static int finish_memory(struct draft *draft)
{
    struct vane_config *config = draft->config;

    if (!draft->memory && draft->maxmem == NULL) {
        return xl_error(draft->file, 1, "memory: is missing");
    }
    if (draft->maxmem == NULL) {
        config->memory_kib = config->current_memory_kib;
    } else if (!draft->memory) {
        config->current_memory_kib = config->memory_kib;
    } else if (config->current_memory_kib > config->memory_kib) {
        return xl_error(draft->file, draft->maxmem->line, "maxmem: is less than memory");
    }
    return 0;
}

static int finish_vcpus(struct draft *draft)
{
    struct vane_config *config = draft->config;

    if (draft->maxvcpus == NULL) {
        config->vcpus = draft->vcpus ? config->current_vcpus : 1;
    }
    if (!draft->vcpus) {
        config->current_vcpus = config->vcpus;
    }
    if (config->current_vcpus > config->vcpus) {
        return xl_error(draft->file, draft->maxvcpus->line, "maxvcpus: is less than vcpus");
    }
    return 0;
}

/* One string is for all vCPUs, a list has one for each from the first on. */
static int finish_cpus(struct draft *draft)
{
    const struct xl_setting *cpus = draft->cpus;
    struct vane_config *config = draft->config;

    for (unsigned int i = 0; i < CONFIG_MAX_VCPUS; i++) {
        config->pins[i] = cpuset_all();
    }
    if (cpus == NULL) {
        return 0;
    }
    if (cpus->is_list && cpus->count > config->vcpus) {
        return xl_error(draft->file, cpus->line, "cpus: there are %zu sets for %u vCPUs",
                        cpus->count, config->vcpus);
    }
    for (unsigned int i = 0; i < (cpus->is_list ? cpus->count : config->vcpus); i++) {
        const struct xl_item *item = &cpus->items[cpus->is_list ? i : 0];

        if (cpuset_parse(item->text, &config->pins[i]) != 0) {
            return xl_error(draft->file, item->line, "cpus: '%.64s' is no list such as \"0-3,^2\"",
                            item->text);
        }
    }
    return 0;
}

/* As xl joins them. */
static int finish_cmdline(struct draft *draft)
{
    const char *root = draft->root != NULL ? draft->root : "";
    const char *extra = draft->extra != NULL ? draft->extra : "";
    char *line;
    int rc;

    if (draft->cmdline != NULL && (draft->root != NULL || draft->extra != NULL)) {
        return xl_error(draft->file, draft->line,
                        "cmdline: xl ignores root and extra beside it; "
                        "take one or the other");
    }
    rc = draft->cmdline != NULL ? asprintf(&line, "%s", draft->cmdline)
                                : asprintf(&line, "%s%s%s%s", *root != '\0' ? "root=" : "", root,
                                           *root != '\0' && *extra != '\0' ? " " : "", extra);
    if (rc < 0) {
        return xl_no_memory(draft->file);
    }
    draft->config->cmdline = line;
    return rc <= CONFIG_MAX_CMDLINE_BYTES ? 0
                                          : xl_error(draft->file, draft->line,
                                                     "the kernel's command line is longer than %u "
                                                     "bytes",
                                                     CONFIG_MAX_CMDLINE_BYTES);
}

static int finish(struct draft *draft)
{
    int rc;

    if (draft->config->name == NULL || draft->config->kernel == NULL) {
        return xl_error(draft->file, 1, "%s: is missing",
                        draft->config->name == NULL ? "name" : "kernel");
    }
    rc = finish_memory(draft);
    rc = rc != 0 ? rc : finish_vcpus(draft);
    rc = rc != 0 ? rc : finish_cpus(draft);
    return rc != 0 ? rc : finish_cmdline(draft);
}

/* Through the reader of XML, for everything it tests. */
static int test(struct xl_file *file, const struct vane_config *draft, struct vane_config **out)
{
    char name[256];
    char *xml;
    int rc = config_write_xml(draft, &xml, file->err);

    if (rc == 0) {
        snprintf(name, sizeof(name), "%.200s, as XML", file->name);
        rc = config_parse(name, xml, strlen(xml), out, file->err);
        free(xml);
    }
    return rc;
}

int xlcfg_parse(const char *name, const char *data, size_t bytes, struct vane_config **out,
                struct err *err)
{
    struct xl_file *file = calloc(1, sizeof(*file));
    struct vane_config *config = calloc(1, sizeof(*config));
    struct draft draft = {.file = file, .config = config};
    int rc;

    if (file == NULL || config == NULL) {
        free(file);
        free(config);
        return err_set(err, ENOMEM, "%s: no memory", name);
    }
    file->name = name;
    file->err = err;
    config->on_reboot = VANE_ACTION_RESTART;
    rc = bytes > CONFIG_MAX_FILE_BYTES
             ? err_set(err, EFBIG, "%s: larger than the limit of %u bytes", name,
                       CONFIG_MAX_FILE_BYTES)
             : xl_open(file, data, bytes);
    for (size_t i = 0; rc == 0 && i < file->count; i++) {
        rc = take(&draft, &file->settings[i]);
    }
    rc = rc != 0 ? rc : finish(&draft);
    rc = rc != 0 ? rc : test(file, config, out);
    xl_close(file);
    free(file);
    config_free(config);
    return rc;
}
