/* SPDX-License-Identifier: MIT */
/*
 * The words and numbers in a configuration: strict, pure parsers.
 *
 * Each takes a whole value (blanks around it already gone), accepts exactly what its comment says
 * and returns false for everything else, so that no half-read number gets through. Private to
 * dom0-tools/config and its unit tests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits only, no sign, within 64 bits. */
bool value_number(const char *text, uint64_t *value);

/* An amount of memory with libvirt's unit (NULL: KiB), in KiB, rounded up. */
bool value_memory_kib(const char *text, const char *unit, uint64_t *kib);

/* Whether libvirt knows the unit: b byte bytes KB k KiB MB M MiB GB G GiB TB T TiB, in any case. */
bool value_unit_known(const char *unit);

/* Six pairs of hexadecimal digits with colons; a unicast address other than all zeros. */
bool value_mac(const char *text, uint8_t mac[6]);

/* A unicast IPv4 address as four decimal numbers, in the machine's byte order. */
bool value_ip(const char *text, uint32_t *ip);

/* 32 hexadecimal digits, with the four dashes or without any. */
bool value_uuid(const char *text, uint8_t uuid[16]);

/* A domain's name as config.h describes it. */
bool value_domain_name(const char *text);

/* A name for a network interface: 1 to 15 letters, digits and _.- but no lone dots. libvirt's
 * schema allows no others, of those that Linux does. */
bool value_interface_name(const char *text);

/* An absolute path, other than "/", without control characters. */
bool value_path(const char *text);
