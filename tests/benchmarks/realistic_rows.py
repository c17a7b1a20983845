"""Tables of rows as products have them: prices as a random walk, texts of words, times, a JSON document, two indexes."""

from __future__ import annotations

# About 380 bytes a row with its indexes.
_ROWS_PER_MB = 5200
_TABLE = """
CREATE TABLE {0} (id bigint PRIMARY KEY, at timestamptz NOT NULL, user_id uuid NOT NULL, symbol text NOT NULL, price numeric(18, 6) NOT NULL,
  quantity numeric(18, 6) NOT NULL, note text NOT NULL, details jsonb NOT NULL);
INSERT INTO {0} SELECT n, timestamptz '2026-01-01' + n * interval '3 seconds', md5((n % 50000)::text)::uuid, 'SYM' || n % 200,
  100 + 20 * sin(n / 5000.0) + random(), (random() * 1000)::numeric(18, 6),
  (SELECT string_agg(substr(md5((n * w % 4096)::text), 1, 7), ' ') FROM generate_series(1, 12) w),
  jsonb_build_object('venue', n % 4, 'order', md5(n::text), 'flags', array[n % 2, n % 3])
FROM generate_series(1, {1}) n;
CREATE INDEX ON {0} (user_id, at);
"""


def tables(megabytes: int) -> list[str]:
    """Statements that make and fill t0 to t3, of that size together. Four tables: all, a half, a third, a quarter of the rows."""
    return [_TABLE.format(f"t{number}", megabytes * _ROWS_PER_MB // 4 // (number + 1)) for number in range(4)]
