/* SPDX-License-Identifier: MIT */
/*
 * A guest's configuration, read from libvirt's domain XML (`<domain type='xen'>`).
 *
 * The reader is pure: it touches nothing but the named file. What it accepts it understands; an
 * element, attribute or value that means something else to libvirt than to us is refused by name,
 * so a configuration never does half of what it says. Reports read "first.xml:12: <disk>: ...".
 * Whether kernels, disks and bridges exist is for the domain builder to find out.
 * Used by dom0-tools/vane (create, validate) and by the unit tests.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/config/cpuset.h"

#define CONFIG_MAX_FILE_BYTES (1u << 20)
#define CONFIG_MAX_DEPTH 16
#define CONFIG_MAX_VCPUS 64 /* as many as the hypervisor gives a domain */
#define CONFIG_MAX_WEIGHT 65535
#define CONFIG_MAX_MEMORY_KIB (16ull << 30) /* 16 TiB */
#define CONFIG_MIN_MEMORY_KIB (4ull << 10)  /* 4 MiB: less holds no kernel */
#define CONFIG_MAX_DISKS 64
#define CONFIG_MAX_NETS 32
#define CONFIG_MAX_HOSTDEVS 8
#define CONFIG_MAX_NAME_BYTES 64
#define CONFIG_PCI_NAME_BYTES 13        /* 0000:00:1f.7 */
#define CONFIG_NAMESPACE "urn:paravane" /* of our own elements in <metadata> */
#define CONFIG_MAX_CMDLINE_BYTES 1023   /* start_info has 1024 with the NUL */

/* What to do when a guest stops; libvirt's words. */
enum vane_action {
    VANE_ACTION_DESTROY,
    VANE_ACTION_RESTART,
    VANE_ACTION_PRESERVE,
    VANE_ACTION_RENAME_RESTART,
    VANE_ACTION_COREDUMP_DESTROY,
    VANE_ACTION_COREDUMP_RESTART,
};

enum vane_disk_type {
    VANE_DISK_FILE,  /* an image file, attached through a loop device */
    VANE_DISK_BLOCK, /* a block device */
};

struct vane_disk {
    enum vane_disk_type type;
    char *path;     /* file or device; absolute; never NULL */
    char *target;   /* name in the guest, "xvda" to "xvdzz"; unique */
    uint32_t vdev;  /* virtual device number of `target` in the blkif numbering */
    bool cdrom;     /* device='cdrom': always read-only */
    bool readonly;  /* guest may not write */
    bool shareable; /* several guests may write */
    bool qcow2;     /* a file in QEMU's format, served by qemu-nbd */
};

/* What is tested of the frames a network card sends. */
enum vane_filter {
    VANE_FILTER_MAC = 1,  /* they come from its own hardware address */
    VANE_FILTER_IP = 2,   /* IPv4 comes from one of its addresses, or asks for one by DHCP */
    VANE_FILTER_ARP = 4,  /* ARP says its own addresses */
    VANE_FILTER_ELSE = 8, /* there is nothing but untagged IPv4 and ARP */
    VANE_FILTER_ALL = 15,
};

/* Most IPv4 addresses a filter knows. */
#define CONFIG_MAX_NET_IPS 8u

struct vane_net {
    char *bridge;        /* bridge to join; never NULL */
    uint8_t mac[6];      /* given, or made up in Xen's 00:16:3e range; unique in the file */
    bool mac_given;      /* the file named the address */
    char *target;        /* name of the control domain's interface; NULL: vifD.N */
    uint64_t rate_kib;   /* most it may send in a second; 0: no limit */
    unsigned int filter; /* bits of enum vane_filter: others are dropped */
    uint32_t ips[CONFIG_MAX_NET_IPS]; /* what it may send from, in the machine's byte order */
    unsigned int ip_count;            /* at least 1 where the filter asks for them */
};

/* A PCI device of the machine for the guest. */
struct vane_hostdev {
    char address[CONFIG_PCI_NAME_BYTES]; /* in its full form; unique in the file */
    bool managed;      /* taken from the control domain's driver, and given back in the end */
    unsigned int line; /* where it stands in the file; 0: not from XML */
};

struct vane_config {
    char *file;        /* name the configuration was read under, for reports; NULL: not from XML */
    char *name;        /* [A-Za-z0-9_.+:@-]+, at most CONFIG_MAX_NAME_BYTES, not all digits */
    uint8_t uuid[16];  /* given, or made up */
    bool uuid_given;   /* the file named the uuid */
    char *title;       /* NULL if absent */
    char *description; /* NULL if absent */

    uint64_t memory_kib;         /* <memory>: the most the guest may ever own */
    uint64_t current_memory_kib; /* <currentMemory>: what it starts with; <= memory_kib */
    unsigned int vcpus;          /* most virtual processors; 1..CONFIG_MAX_VCPUS */
    unsigned int current_vcpus;  /* those online at start; 1..vcpus */
    unsigned int weight;         /* <shares>: part of the pcpus; 0: the hypervisor's usual one */
    unsigned int cap;            /* percent of a pcpu it never gets more than; 0: none */
    struct cpuset pins[CONFIG_MAX_VCPUS]; /* pcpus each may run on, not yet fitted to a machine */

    char *kernel;  /* bzImage or ELF; absolute path; never NULL */
    char *ramdisk; /* absolute path; NULL if absent */
    char *cmdline; /* never NULL, "" if absent */

    enum vane_action on_poweroff; /* default destroy */
    enum vane_action on_reboot;   /* default restart */
    enum vane_action on_crash;    /* default destroy */

    struct vane_disk *disks;
    size_t disk_count;
    struct vane_net *nets;
    size_t net_count;
    struct vane_hostdev *hostdevs;
    size_t hostdev_count;
    bool unsafe; /* the devices may reach all memory */
};

/* Reads a configuration file. Returns: 0 with a new configuration (config_free() it).
 * Errors: the errno of opening the file; EFBIG above CONFIG_MAX_FILE_BYTES; EBADMSG for everything
 * wrong in it. */
int config_load(const char *path, struct vane_config **out, struct err *err);

/* As config_load() for a document in memory; `name` stands for the file in reports. */
int config_parse(const char *name, const void *data, size_t bytes, struct vane_config **out,
                 struct err *err);

/* Writes a configuration as domain XML, which config_parse() reads back to the same. What was made
 * up (a uuid, an address) is left out, to be made up again. *text is new memory with a NUL behind
 * it. */
int config_write_xml(const struct vane_config *config, char **text, struct err *err);

/* Frees a configuration; NULL is fine. */
void config_free(struct vane_config *config);

/* libvirt's word for an action, "restart" for instance. */
const char *config_action_name(enum vane_action action);

/* The action of a word. Returns: 0 or -EINVAL. */
int config_action_from_name(const char *name, enum vane_action *action);

/* Writes a uuid in its 36-character form with a NUL. */
void config_uuid_format(const uint8_t uuid[16], char text[37]);

/* libvirt's name of a filter, "clean-traffic" for instance; NULL where it tests nothing. */
const char *config_filter_name(unsigned int filter);

/* Writes an IPv4 address as "10.0.0.1" with a NUL. */
void config_ip_format(uint32_t ip, char text[16]);

/* Writes a hardware address as "00:16:3e:00:00:01" with a NUL. */
void config_mac_format(const uint8_t mac[6], char text[18]);

/* Reads the name of a PCI function, [SSSS:]BB:DD.F, into its full form. Returns: whether it is one.
 */
bool config_pci_name(const char *text, char name[CONFIG_PCI_NAME_BYTES]);

/* Virtual device number of a target such as "xvda" or "xvdb3". Returns: 0 or -EINVAL. */
int config_vdev_from_target(const char *target, uint32_t *vdev);
