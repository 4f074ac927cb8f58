"""Cases about a Durable Object's storage, with its keys, SQL and the alarm; each case runs in its own object."""

from typing import Any

from tests.conformance.cases.registry import attempt, attempt_now, object_case, show

FAR_MS = 4_000_000_000_000


@object_case
async def a_key_that_is_not_there(ctx: Any) -> Any:
    storage = ctx.storage
    return [await attempt(storage.get("none")), await attempt(storage.delete("none")), await attempt(storage.list())]


@object_case
async def values_come_back_as_they_went(ctx: Any) -> Any:
    storage = ctx.storage
    value = {"a": [1, 2.5, 5.0, None, True, {"b": "é😀"}], "empty": {}, "list": []}
    seen = []
    items: tuple[Any, ...] = (value, "text", 5, 2.5, None, True, [], 2**53 - 1)
    for item in items:
        await storage.put("key", item)
        seen.append(await attempt(storage.get("key")))
    return seen


@object_case
async def a_stored_none_is_none(ctx: Any) -> Any:
    await ctx.storage.put("key", None)
    return [await attempt(ctx.storage.get("key")), await attempt(ctx.storage.delete("key"))]


@object_case
async def a_stored_value_is_a_copy(ctx: Any) -> Any:
    value = {"list": [1]}
    await ctx.storage.put("key", value)
    value["list"].append(2)
    (await ctx.storage.get("key"))["list"].append(3)
    return await attempt(ctx.storage.get("key"))


@object_case
async def several_keys_at_once(ctx: Any) -> Any:
    storage = ctx.storage
    await storage.put({"b": 2, "a": 1, "c": None})
    return [
        await attempt(storage.get(["a", "c", "none"])),
        await attempt(storage.delete(["a", "none"])),
        await attempt(storage.list()),
    ]


@object_case
async def delete_says_whether_it_was_there(ctx: Any) -> Any:
    await ctx.storage.put("key", 1)
    return [await attempt(ctx.storage.delete("key")), await attempt(ctx.storage.delete("key"))]


@object_case
async def delete_all_takes_everything(ctx: Any) -> Any:
    storage = ctx.storage
    await storage.put({"a": 1, "b": 2})
    storage.sql.exec("CREATE TABLE t (a)")
    await storage.setAlarm(FAR_MS)
    await storage.deleteAll()
    tables = storage.sql.exec(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'"
    )
    return [await attempt(storage.list()), show(tables.toArray()), await attempt(storage.getAlarm())]


@object_case
async def an_alarm_is_set_read_moved_and_deleted(ctx: Any) -> Any:
    storage = ctx.storage
    seen = [await attempt(storage.getAlarm())]
    await storage.setAlarm(FAR_MS)
    seen.append(await storage.getAlarm() == FAR_MS)
    await storage.setAlarm(FAR_MS + 5_000)
    seen.append(await storage.getAlarm() == FAR_MS + 5_000)
    await storage.deleteAlarm()
    return [*seen, await attempt(storage.getAlarm()), await attempt(storage.deleteAlarm())]


@object_case
async def sql_gives_rows(ctx: Any) -> Any:
    sql = ctx.storage.sql
    sql.exec("CREATE TABLE t (a INTEGER, b TEXT)")
    sql.exec("INSERT INTO t VALUES (?, ?), (?, ?)", 1, "x", 2, None)
    cursor = sql.exec("SELECT a, b, typeof(a) AS t FROM t ORDER BY a")
    return [
        show(cursor.toArray()),
        show(cursor.toArray()),
        show(sql.exec("SELECT a FROM t WHERE a = 1").one()),
        show(list(sql.exec("SELECT a, b FROM t ORDER BY a").columnNames)),
    ]


@object_case
async def one_wants_exactly_one(ctx: Any) -> Any:
    sql = ctx.storage.sql
    return [
        attempt_now(lambda: sql.exec("SELECT 1 AS a WHERE 0").one()),
        attempt_now(lambda: sql.exec("SELECT 1 AS a UNION ALL SELECT 2").one()),
    ]


@object_case
async def sql_errors(ctx: Any) -> Any:
    sql = ctx.storage.sql
    sql.exec("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER CHECK (b > 0)) STRICT")
    sql.exec("INSERT INTO t VALUES (1, 1)")
    return [
        attempt_now(lambda: sql.exec("SELEKT 1").toArray()),
        attempt_now(lambda: sql.exec("SELECT * FROM nowhere").toArray()),
        attempt_now(lambda: sql.exec("INSERT INTO t VALUES (1, 2)").toArray()),
        attempt_now(lambda: sql.exec("INSERT INTO t VALUES (2, -2)").toArray()),
        attempt_now(lambda: sql.exec("INSERT INTO t VALUES (2, 'x')").toArray()),
        attempt_now(lambda: sql.exec("SELECT ?").toArray()),
        attempt_now(lambda: sql.exec("SELECT ?", 1, 2).toArray()),
        attempt_now(lambda: sql.exec("BEGIN").toArray()),
    ]


@object_case
async def sql_values_convert(ctx: Any) -> Any:
    sql = ctx.storage.sql
    row = sql.exec(
        "SELECT ?1 AS i, typeof(?1) AS ti, ?2 AS r, ?3 AS n, typeof(?3) AS tn, ?4 AS t, 9007199254740993 AS big",
        5,
        2.5,
        None,
        "é",
    )
    return show(row.toArray())


@object_case
async def sql_counts_rows(ctx: Any) -> Any:
    sql = ctx.storage.sql
    sql.exec("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    written = sql.exec("INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    read = sql.exec("SELECT * FROM t")
    read.toArray()
    return [written.rowsWritten, read.rowsRead]


@object_case
async def keys_and_sql_share_a_transaction_within_a_turn(ctx: Any) -> Any:
    storage = ctx.storage
    storage.sql.exec("CREATE TABLE t (a)")
    first = storage.put("key", 1)
    storage.sql.exec("INSERT INTO t VALUES (1)")
    await first
    return [await attempt(storage.get("key")), show(storage.sql.exec("SELECT count(*) AS n FROM t").one())]


@object_case
async def a_put_is_seen_before_it_is_awaited(ctx: Any) -> Any:
    storage = ctx.storage
    first, second, read = storage.put("key", 1), storage.put("key", 2), storage.get("key")
    seen = await read
    await second
    await first
    return [seen, await attempt(storage.get("key"))]


@object_case
async def what_cannot_be_stored(ctx: Any) -> Any:
    seen = []
    for value in ((1, 2), {"a": [(1,)]}):
        try:
            await ctx.storage.put("key", value)
        except Exception as error:  # noqa: BLE001 - which it is, is the result
            seen.append(type(error).__name__)
        else:
            seen.append("stored")
    return seen
