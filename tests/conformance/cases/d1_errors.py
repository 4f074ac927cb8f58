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
async def a_missing_function(env: Any) -> Any:
    return await attempt(env.DB.prepare("SELECT frobnicate(1)").run())


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
async def too_many_compound_terms(env: Any) -> Any:
    db = env.DB
    five, six = (" UNION ALL ".join(["SELECT 1 AS a"] * count) for count in (5, 6))
    return [await attempt(db.prepare(five).raw()), await attempt(db.prepare(six).raw())]


@worker_case
async def too_many_function_arguments(env: Any) -> Any:
    def largest(count: int) -> str:
        return f"SELECT max({', '.join(['1'] * count)}) AS m"

    return [
        await attempt(env.DB.prepare(largest(32)).first("m")),
        await attempt(env.DB.prepare(largest(33)).first("m")),
    ]


@worker_case
async def too_long_a_like_pattern(env: Any) -> Any:
    sql = "SELECT ?1 LIKE ?2 AS m"
    return [
        await attempt(env.DB.prepare(sql).bind("x" * 50, "x" * 50).first("m")),
        await attempt(env.DB.prepare(sql).bind("x" * 51, "x" * 51).first("m")),
    ]


@worker_case
async def too_many_columns_or_too_deep_an_expression(env: Any) -> Any:
    def columns(count: int) -> str:
        return f"SELECT {', '.join(['1'] * count)}"

    def depth(count: int) -> str:
        return f"SELECT {'+'.join(['1'] * count)} AS a"

    result = [await attempt(env.DB.prepare(columns(count)).raw()) for count in (100, 101)]
    return [len(result[0][0]), result[1]] + [
        await attempt(env.DB.prepare(depth(count)).first("a")) for count in (100, 120)
    ]


@worker_case
async def transaction_keywords_are_refused(env: Any) -> Any:
    texts = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a", "  begin immediate", "END")
    return [await attempt(env.DB.prepare(text).run()) for text in texts]


@worker_case
async def attach_and_vacuum_are_refused(env: Any) -> Any:
    texts = ("ATTACH ':memory:' AS other", "VACUUM")
    return ["raised" in await attempt(env.DB.prepare(text).run()) for text in texts]


@worker_case
async def several_statements_in_one_prepare(env: Any) -> Any:
    two = "INSERT INTO notes (body) VALUES ('one'); INSERT INTO notes (body) VALUES ('two')"
    return [
        (await attempt(env.DB.prepare(two).run())).get("raised", "ran"),
        await _count(env),
        await attempt(env.DB.prepare("SELECT 1 AS a; SELECT 2 AS a").first()),
    ]


@worker_case
async def a_semicolon_at_the_end(env: Any) -> Any:
    return [await attempt(env.DB.prepare(text).first()) for text in ("SELECT 1 AS a;", "SELECT 1 AS a ; \n")]


@worker_case
async def an_empty_statement(env: Any) -> Any:
    return [
        (await attempt(env.DB.prepare(text).run())).get("raised", "ran")
        for text in ("", "  ", ";", "-- only a comment")
    ]


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
async def a_batch_refuses_transaction_keywords(env: Any) -> Any:
    db = env.DB
    failed = await attempt(db.batch([db.prepare("INSERT INTO notes (body) VALUES ('one')"), db.prepare("COMMIT")]))
    return [failed, await _count(env)]


@worker_case
async def a_trigger_can_abort(env: Any) -> Any:
    result = await attempt(env.DB.prepare("INSERT INTO guarded (body) VALUES ('far too long for it')").run())
    return [result, await _count(env, "guarded")]
