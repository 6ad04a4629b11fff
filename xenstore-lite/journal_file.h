// SPDX-License-Identifier: MIT
/*
 * Where records are kept: a folder, usually in /run, with two kinds of files.
 *
 *     snapshot.N   everything, as it was when log.N was begun; appears whole or not at all
 *     log.N        every record since
 *
 * The state is the newest snapshot and all logs from its number on. When a log has grown well
 * beyond its snapshot the next pair is begun: a child process, which has the state as it was at
 * that moment, writes the snapshot while the daemon goes on; older files go once it is there.
 *
 * A write by a process that is killed has happened or it has not: a record is one write. The files
 * outlive the process, not the machine, and need not: a machine that starts anew has no guests.
 */
#pragma once

#include <stddef.h>

struct journal_file;
struct server;

/* A log may grow to this many bytes, or to a multiple of its snapshot, before the next pair is
 * begun; tests make it small. */
extern size_t journal_log_bytes;

/*
 * Takes up the state in a folder (made when it is missing) and has the server keep it there from
 * now on. Errors: a negative errno; one line on stderr says what failed.
 */
int journal_open(const char *folder, struct server *s, struct journal_file **out);
/* Looks whether a new snapshot is due, or done. To be called between batches of requests. */
void journal_tend(struct journal_file *f);
/* Ends keeping. What is there stays, for the next start. */
void journal_close(struct journal_file *f);
