"""Cases about D1's counts in `meta`, from which Cloudflare computes a bill."""

from typing import Any

from tests.conformance.cases.registry import worker_case


async def _counts(env: Any, sql: str, *values: Any) -> list[Any]:
    result = await env.DB.prepare(sql).bind(*values).run()
    meta = result["meta"]
    return [len(result["results"]), meta["changes"], meta["rows_written"]]


async def _rows_read(env: Any, sql: str) -> int:
    rows: int = (await env.DB.prepare(sql).run())["meta"]["rows_read"]
    return rows


KEYED = "INSERT INTO keyed (k, v, w) VALUES ('a', 1, 1), ('b', 2, 2), ('c', 3, 3)"
PLAIN = "INSERT INTO plain_keyed (k, v) VALUES ('a', 1), ('b', 2), ('c', 3)"
ROWID = "INSERT INTO indexed (body, extra) VALUES ('a', 1), ('b', 2), ('c', 3)"


@worker_case
async def writes_to_a_without_rowid_table(env: Any) -> Any:
    return [
        await _counts(env, PLAIN),
        await _counts(env, "UPDATE plain_keyed SET v = v + 1 WHERE k = 'a'"),
        await _counts(env, "UPDATE plain_keyed SET v = v + 1 WHERE k = 'none'"),
        await _counts(env, "DELETE FROM plain_keyed WHERE k = 'b'"),
    ]


@worker_case
async def writes_to_a_without_rowid_table_with_an_index(env: Any) -> Any:
    return [
        await _counts(env, KEYED),
        await _counts(env, "UPDATE keyed SET v = v + 1 WHERE k = 'a'"),
        await _counts(env, "UPDATE keyed SET w = w + 1 WHERE k = 'a'"),
        await _counts(env, "DELETE FROM keyed WHERE k = 'b'"),
    ]


@worker_case
async def an_index_untouched_by_its_value(env: Any) -> Any:
    await _counts(env, KEYED)
    return await _counts(env, "UPDATE keyed SET v = v WHERE k = 'a'")


@worker_case
async def writes_to_a_rowid_table_with_an_index(env: Any) -> Any:
    return [
        await _counts(env, ROWID),
        await _counts(env, "UPDATE indexed SET body = 'z' WHERE body = 'a'"),
        await _counts(env, "UPDATE indexed SET extra = 9 WHERE body = 'b'"),
        await _counts(env, "DELETE FROM indexed WHERE body = 'c'"),
    ]


@worker_case
async def a_conflict_that_does_nothing_writes_nothing(env: Any) -> Any:
    await _counts(env, PLAIN)
    sql = "INSERT INTO plain_keyed (k, v) VALUES ('a', 9), ('d', 4) ON CONFLICT DO NOTHING"
    return [await _counts(env, sql), await _counts(env, sql)]


@worker_case
async def a_conflict_that_updates(env: Any) -> Any:
    await _counts(env, PLAIN)
    sql = "INSERT INTO plain_keyed (k, v) VALUES ('a', 9) ON CONFLICT DO UPDATE SET v = excluded.v"
    return await _counts(env, sql)


@worker_case
async def inserts_from_json(env: Any) -> Any:
    sql = "INSERT INTO plain_keyed (k, v) SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true"
    guarded = f"{sql} AND EXISTS (SELECT 1 FROM plain_keyed WHERE k = 'none') ON CONFLICT DO NOTHING"  # noqa: S608
    rows = '[["a", 1], ["b", 2], ["c", 3]]'
    return [await _counts(env, guarded, rows), await _counts(env, sql, rows)]


@worker_case
async def returning_gives_the_changed_rows(env: Any) -> Any:
    await _counts(env, PLAIN)
    return [
        await _counts(env, "UPDATE plain_keyed SET v = 0 WHERE k <> 'a' RETURNING k, v"),
        await _counts(env, "DELETE FROM plain_keyed WHERE k = 'a' RETURNING k"),
        await _counts(env, "INSERT INTO plain_keyed (k, v) VALUES ('x', 1) RETURNING v"),
    ]


@worker_case
async def rows_read_by_key_scan_and_range(env: Any) -> Any:
    await _counts(env, KEYED)
    queries = (
        "SELECT * FROM keyed WHERE k = 'a'",
        "SELECT k FROM keyed WHERE k = 'none'",
        "SELECT * FROM keyed",
        "SELECT count(*) AS n FROM keyed",
        "SELECT 1 AS one",
        "SELECT k FROM keyed WHERE k > 'a' ORDER BY k LIMIT 1",
    )
    return [await _rows_read(env, query) for query in queries]


@worker_case
async def rows_read_by_an_insert(env: Any) -> Any:
    return await _rows_read(env, KEYED)


@worker_case
async def rows_read_by_returning_and_secondary_indexes(env: Any) -> Any:
    await _counts(env, KEYED)
    return [
        await _rows_read(env, "UPDATE keyed SET v = 0 WHERE k <> 'a' RETURNING k"),
        await _rows_read(env, "DELETE FROM keyed WHERE k = 'a' RETURNING k"),
        await _rows_read(env, "SELECT k, v FROM keyed WHERE w >= 2 ORDER BY w LIMIT 2"),
    ]


@worker_case
async def changed_db_says_whether_anything_changed(env: Any) -> Any:
    db = env.DB
    results = [
        await db.prepare(PLAIN).run(),
        await db.prepare("UPDATE plain_keyed SET v = 1 WHERE k = 'none'").run(),
        await db.prepare("SELECT 1 AS a").run(),
    ]
    return [one["meta"]["changed_db"] for one in results]


@worker_case
async def changes_of_statements_in_a_batch_are_their_own(env: Any) -> Any:
    db = env.DB
    results = await db.batch(
        [
            db.prepare(PLAIN),
            db.prepare("SELECT * FROM plain_keyed"),
            db.prepare("UPDATE plain_keyed SET v = 7 WHERE k = 'a'"),
            db.prepare("DELETE FROM plain_keyed"),
        ]
    )
    return [[one["meta"]["changes"], one["meta"]["rows_written"], len(one["results"])] for one in results]


@worker_case
async def changes_by_a_trigger(env: Any) -> Any:
    return await _counts(env, "INSERT INTO watched (body) VALUES ('a'), ('b')")
