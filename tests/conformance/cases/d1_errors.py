"""Cases about D1's errors, its limits, and batches as transactions."""

from typing import Any

from tests.conformance.cases.registry import attempt, show, worker_case


async def _count(env: Any, table: str = "notes") -> int:
    count: int = await env.DB.prepare(f"SELECT count(*) AS n FROM {table}").first("n")  # noqa: S608
    return count


@worker_case
async def a_syntax_error(env: Any) -> Any:
    return await attempt(env.DB.prepare("SELECT FROM").run())


@worker_case
async def a_missing_table_or_column(env: Any) -> Any:
    db = env.DB
    return [
        await attempt(db.prepare("SELECT 1 FROM nowhere").run()),
        await attempt(db.prepare("SELECT z FROM notes").run()),
    ]


@worker_case
async def each_constraint_has_its_code(env: Any) -> Any:
    db = env.DB
    await db.prepare("INSERT INTO checked (id, n, u) VALUES ('a', 1, 'u')").run()
    return [
        await attempt(db.prepare("INSERT INTO checked (id, n, u) VALUES ('a', 1, 'v')").run()),
        await attempt(db.prepare("INSERT INTO checked (id, n, u) VALUES ('b', 1, 'u')").run()),
        await attempt(db.prepare("INSERT INTO checked (id, n, u) VALUES ('c', -1, 'w')").run()),
        await attempt(db.prepare("INSERT INTO checked (id, n, u) VALUES ('d', NULL, 'x')").run()),
        await attempt(db.prepare("INSERT INTO checked (id, n, u, parent) VALUES ('e', 1, 'y', 'none')").run()),
        await _count(env, "checked"),
    ]


@worker_case
async def too_few_or_too_many_values(env: Any) -> Any:
    db = env.DB
    return [
        await attempt(db.prepare("SELECT ? AS a, ? AS b").bind(1).first()),
        await attempt(db.prepare("SELECT ? AS a").bind(1, 2).first()),
        await attempt(db.prepare("SELECT 1 AS a").bind(1).first()),
        await attempt(db.prepare("SELECT ? AS a").first()),
    ]


@worker_case
async def a_hundred_parameters_and_one_more(env: Any) -> Any:
    def marks(count: int) -> str:
        return f"SELECT 1 IN ({', '.join('?' * count)}) AS found"

    return [
        await attempt(env.DB.prepare(marks(100)).bind(*[1] * 100).first("found")),
        await attempt(env.DB.prepare(marks(101)).bind(*[1] * 101).first("found")),
    ]


@worker_case
async def a_statement_of_100_kb_and_one_byte_more(env: Any) -> Any:
    def padded(size: int) -> str:
        text = "SELECT 1 AS a --"
        return text + "x" * (size - len(text))

    return [
        await attempt(env.DB.prepare(padded(99_999)).first("a")),
        await attempt(env.DB.prepare(padded(100_001)).first("a")),
    ]


@worker_case
async def a_value_of_2_mb_and_more(env: Any) -> Any:
    sql = "INSERT INTO notes (body) VALUES (?)"
    return [
        (await attempt(env.DB.prepare(sql).bind("x" * 1_999_000).run())).get("raised", "stored"),
        (await attempt(env.DB.prepare(sql).bind("x" * 2_000_001).run())).get("raised", "stored"),
        await _count(env),
    ]


@worker_case
async def a_row_of_more_than_2_mb(env: Any) -> Any:
    sql = "INSERT INTO loose (i, t, n) VALUES (1, ?, ?)"
    result = await attempt(env.DB.prepare(sql).bind("x" * 1_500_000, "y" * 1_500_000).run())
    return [result.get("raised", "stored"), await _count(env, "loose")]


@worker_case
async def a_semicolon_at_the_end(env: Any) -> Any:
    return [await attempt(env.DB.prepare(text).first()) for text in ("SELECT 1 AS a;", "SELECT 1 AS a ; \n")]


@worker_case
async def a_batch_is_all_or_nothing(env: Any) -> Any:
    db = env.DB
    failed = await attempt(
        db.batch(
            [
                db.prepare("INSERT INTO notes (body) VALUES ('one')"),
                db.prepare("INSERT INTO checked (id, n, u) VALUES ('x', -1, 'x')"),
                db.prepare("INSERT INTO notes (body) VALUES ('two')"),
            ]
        )
    )
    return [failed, await _count(env)]


@worker_case
async def a_batch_sees_its_own_writes(env: Any) -> Any:
    db = env.DB
    results = await db.batch(
        [
            db.prepare("INSERT INTO notes (body) VALUES ('one')"),
            db.prepare("SELECT count(*) AS n FROM notes"),
            db.prepare("DELETE FROM notes"),
            db.prepare("SELECT count(*) AS n FROM notes"),
        ]
    )
    return [[show(one["results"]), one["meta"]["changes"]] for one in results]


@worker_case
async def a_batch_with_a_syntax_error_does_nothing(env: Any) -> Any:
    db = env.DB
    failed = await attempt(db.batch([db.prepare("INSERT INTO notes (body) VALUES ('one')"), db.prepare("SELEKT 1")]))
    return [failed, await _count(env)]


@worker_case
async def an_empty_batch(env: Any) -> Any:
    return await attempt(env.DB.batch([]))


@worker_case
async def a_trigger_can_abort(env: Any) -> Any:
    result = await attempt(env.DB.prepare("INSERT INTO guarded (body) VALUES ('far too long for it')").run())
    return [result, await _count(env, "guarded")]
