/* Copyright (c) 2026, the nexanest.database authors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A provider of security labels that takes any, for PostgreSQL 17: Debian has none. The server's headers are not needed: what it reads of a
 * library (fmgr.h: Pg_magic_struct) and the one function that is called (commands/seclabel.h) are declared here. */
typedef struct
{
    int len, version, max_arguments, max_index_keys, name_length, float8_by_value;
    char abi[32];
} Magic;

extern void register_label_provider(const char *name, void (*check)(const void *object, const char *label));

static const Magic magic = {sizeof(Magic), 1700, 100, 32, 64, 1, "PostgreSQL"};

const Magic *Pg_magic_func(void) { return &magic; }

static void take(const void *object, const char *label)
{
    (void) object;
    (void) label;
}

void _PG_init(void) { register_label_provider("test", take); }
