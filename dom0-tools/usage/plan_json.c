/* SPDX-License-Identifier: MIT */
/*
 * Reading the hosts and guests of a plan from JSON documents; the format is in docs/accounting.md.
 *
 * A text holds one document or several after each other: what vane top --json prints of a host, or
 * an object whose member "hosts" lists such. Members nobody needs here are passed over; what is
 * needed must be there, of the right type and in bounds. Reports name the text and the place, as in
 * "hosts.json: hosts[1].domains[3].demand_percent: ...".
 */
#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/usage/plan.h"

#define MAX_DEPTH 8
#define PLACE_BYTES 128
#define MAX_KIB (1ull << 40)
#define MAX_PERCENT 1e6

/* Where the reader is. */
struct place {
    const char *name; /* of the text */
    struct err *err;
    char path[PLACE_BYTES];
};

static int bad(const struct place *place, const char *key, const char *what)
{
    return err_set(place->err, EBADMSG, "%s: %s%s%s: %s", place->name, place->path,
                   *place->path != '\0' && *key != '\0' ? "." : "", key, what);
}

/* --- members ----------------------------------------------------------------------------- */

static int take_number(const struct place *place, struct json_object *of, const char *key,
                       double max, double *number)
{
    struct json_object *value;

    if (!json_object_object_get_ex(of, key, &value)) {
        return bad(place, key, "is missing");
    }
    if (!json_object_is_type(value, json_type_int) &&
        !json_object_is_type(value, json_type_double)) {
        return bad(place, key, value == NULL ? "is not known, but needed" : "is no number");
    }
    *number = json_object_get_double(value);
    if (!isfinite(*number) || *number < 0 || *number > max) {
        return bad(place, key, "is out of bounds");
    }
    return 0;
}

static int take_whole(const struct place *place, struct json_object *of, const char *key,
                      double max, uint64_t *number)
{
    double value = 0;
    int rc = take_number(place, of, key, max, &value);

    if (rc == 0 && value != floor(value)) {
        rc = bad(place, key, "is no whole number");
    }
    *number = rc == 0 ? (uint64_t)value : 0;
    return rc;
}

static int take_name(const struct place *place, struct json_object *of, char name[USAGE_NAME_BYTES])
{
    struct json_object *value;

    if (!json_object_object_get_ex(of, "name", &value)) {
        return bad(place, "name", "is missing");
    }
    if (!json_object_is_type(value, json_type_string)) {
        return bad(place, "name", "is no text");
    }

    const char *text = json_object_get_string(value);
    size_t bytes = (size_t)json_object_get_string_len(value);

    if (bytes == 0 || bytes >= USAGE_NAME_BYTES || strlen(text) != bytes) {
        return bad(place, "name", "is empty, too long or not printable");
    }
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            return bad(place, "name", "is empty, too long or not printable");
        }
    }
    memcpy(name, text, bytes + 1);
    return 0;
}

/* --- hosts and guests -------------------------------------------------------------------- */

static int take_guest(struct place *place, struct json_object *of, size_t host,
                      struct plan_guest *guest)
{
    struct json_object *movable;
    uint64_t id;
    double demand;
    int rc;

    *guest = (struct plan_guest){.host = host};
    if (!json_object_is_type(of, json_type_object)) {
        return bad(place, "", "is no object");
    }
    rc = take_name(place, of, guest->name);
    rc = rc != 0 ? rc : take_whole(place, of, "id", UINT32_MAX, &id);
    rc = rc != 0 ? rc : take_number(place, of, "demand_percent", MAX_PERCENT, &demand);
    rc = rc != 0 ? rc : take_whole(place, of, "memory_kib", MAX_KIB, &guest->memory_kib);
    if (rc != 0) {
        return rc;
    }
    guest->id = (uint32_t)id;
    guest->demand = (uint64_t)llround(demand * PLAN_UNITS);
    guest->movable = id != 0; /* the control domain stays where it is */
    if (json_object_object_get_ex(of, "movable", &movable)) {
        if (!json_object_is_type(movable, json_type_boolean)) {
            return bad(place, "movable", "is neither true nor false");
        }
        guest->movable = guest->movable && json_object_get_boolean(movable);
    }
    return 0;
}

/* Forgets the guests of a host that is described anew. */
static void drop_guests(struct plan_input *input, size_t host)
{
    size_t kept = 0;

    for (size_t i = 0; i < input->guest_count; i++) {
        if (input->guests[i].host != host) {
            input->guests[kept++] = input->guests[i];
        }
    }
    input->guest_count = kept;
}

/* The place of a host in the list: that of an older description, or a new one. */
static int place_host(const struct place *place, struct plan_input *input,
                      const struct plan_host *host, size_t *index)
{
    for (*index = 0; *index < input->host_count; (*index)++) {
        if (strcmp(input->hosts[*index].name, host->name) == 0) {
            drop_guests(input, *index);
            input->hosts[*index] = *host;
            return 0;
        }
    }
    if (input->host_count == PLAN_MAX_HOSTS) {
        return bad(place, "", "there are too many hosts");
    }

    struct plan_host *larger =
        realloc(input->hosts, (input->host_count + 1) * sizeof(*input->hosts));

    if (larger == NULL) {
        return err_set(place->err, ENOMEM, "%s: no memory", place->name);
    }
    input->hosts = larger;
    input->hosts[input->host_count++] = *host;
    return 0;
}

static int take_guests(struct place *place, struct json_object *list, size_t host,
                       struct plan_input *input)
{
    size_t count = json_object_array_length(list);
    size_t end = strlen(place->path);
    struct plan_guest *larger;
    int rc = 0;

    if (input->guest_count + count > PLAN_MAX_GUESTS) {
        return bad(place, "domains", "there are too many guests");
    }
    larger = realloc(input->guests, (input->guest_count + count + 1) * sizeof(*larger));
    if (larger == NULL) {
        return err_set(place->err, ENOMEM, "%s: no memory", place->name);
    }
    input->guests = larger;
    for (size_t i = 0; i < count && rc == 0; i++) {
        snprintf(place->path + end, PLACE_BYTES - end, "%sdomains[%zu]", end > 0 ? "." : "", i);
        rc = take_guest(place, json_object_array_get_idx(list, i), host,
                        &input->guests[input->guest_count]);
        input->guest_count += rc == 0;
    }
    place->path[end] = '\0';
    return rc;
}

/* One host as vane top --json prints it. */
static int take_host(struct place *place, struct json_object *document, struct plan_input *input)
{
    struct plan_host host = {.pcpus = 0};
    struct json_object *object;
    struct json_object *domains;
    size_t end = strlen(place->path);
    uint64_t pcpus;
    size_t index;
    int rc;

    if (!json_object_is_type(document, json_type_object)) {
        return bad(place, "", "is no object");
    }
    if (!json_object_object_get_ex(document, "host", &object) ||
        !json_object_is_type(object, json_type_object)) {
        return bad(place, "host", "is missing or no object");
    }
    if (!json_object_object_get_ex(document, "domains", &domains) ||
        !json_object_is_type(domains, json_type_array)) {
        return bad(place, "domains", "is missing or no list");
    }
    snprintf(place->path + end, PLACE_BYTES - end, "%shost", end > 0 ? "." : "");
    rc = take_name(place, object, host.name);
    rc = rc != 0 ? rc : take_whole(place, object, "pcpus", 4096, &pcpus);
    rc = rc != 0 ? rc : take_whole(place, object, "free_memory_kib", MAX_KIB, &host.free_kib);
    if (rc == 0 && pcpus == 0) {
        rc = bad(place, "pcpus", "is out of bounds");
    }
    place->path[end] = '\0';
    if (rc != 0) {
        return rc;
    }
    host.pcpus = (uint32_t)pcpus;
    rc = place_host(place, input, &host, &index);
    return rc != 0 ? rc : take_guests(place, domains, index, input);
}

static int take_document(struct place *place, struct json_object *document,
                         struct plan_input *input)
{
    struct json_object *hosts;
    int rc = 0;

    if (!json_object_is_type(document, json_type_object) ||
        !json_object_object_get_ex(document, "hosts", &hosts)) {
        return take_host(place, document, input);
    }
    if (!json_object_is_type(hosts, json_type_array)) {
        return bad(place, "hosts", "is no list");
    }
    for (size_t i = 0; i < json_object_array_length(hosts) && rc == 0; i++) {
        snprintf(place->path, PLACE_BYTES, "hosts[%zu]", i);
        rc = take_host(place, json_object_array_get_idx(hosts, i), input);
    }
    place->path[0] = '\0';
    return rc;
}

/* --- texts ------------------------------------------------------------------------------- */

static unsigned int line_of(const char *text, size_t at)
{
    unsigned int line = 1;

    for (size_t i = 0; i < at; i++) {
        line += text[i] == '\n';
    }
    return line;
}

int plan_read(const char *name, const char *text, struct plan_input *input, struct err *err)
{
    struct place place = {.name = name, .err = err};
    struct json_tokener *parser = json_tokener_new_ex(MAX_DEPTH);
    size_t bytes = strlen(text);
    size_t at = strspn(text, " \t\r\n");
    int rc = 0;

    if (parser == NULL) {
        return err_set(err, ENOMEM, "%s: no memory", name);
    }
    json_tokener_set_flags(parser, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    if (at == bytes) {
        rc = err_set(err, EBADMSG, "%s: is empty", name);
    }
    while (rc == 0 && at < bytes) {
        json_tokener_reset(parser);

        /* With the final NUL, so that a cut-off document is an error and not a wish for more. */
        struct json_object *document =
            json_tokener_parse_ex(parser, text + at, (int)(bytes - at + 1));
        enum json_tokener_error problem = json_tokener_get_error(parser);

        at += json_tokener_get_parse_end(parser);
        if (problem != json_tokener_success) {
            rc = err_set(err, EBADMSG, "%s:%u: no JSON: %s", name,
                         line_of(text, at < bytes ? at : bytes), json_tokener_error_desc(problem));
        } else {
            rc = take_document(&place, document, input);
        }
        json_object_put(document);
        at += strspn(text + (at < bytes ? at : bytes), " \t\r\n");
    }
    json_tokener_free(parser);
    return rc;
}

void plan_input_free(struct plan_input *input)
{
    free(input->hosts);
    free(input->guests);
    *input = (struct plan_input){.hosts = NULL};
}
