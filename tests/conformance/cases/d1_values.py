"""Cases about how D1 converts values when it stores and returns them, and about the forms of its results."""

from typing import Any

from tests.conformance.cases.registry import attempt, describe, show, worker_case


async def _typed(env: Any, *values: Any) -> Any:
    columns = ", ".join(f"typeof(?{at}) AS t{at}, ?{at} AS v{at}" for at in range(1, len(values) + 1))
    return await attempt(env.DB.prepare(f"SELECT {columns}").bind(*values).first())


@worker_case
async def numbers_bind_as_real(env: Any) -> Any:
    return await _typed(env, 5, 5.0, 2.5, 0, -1, -0.0, 10**15)


@worker_case
async def division_of_bound_numbers_is_real(env: Any) -> Any:
    return await attempt(
        env.DB.prepare("SELECT ?1 / ?2 AS q, 5 / 2 AS i, CAST(?1 AS INTEGER) / 2 AS c").bind(5, 2).first()
    )


@worker_case
async def none_binds_as_null_and_comes_back(env: Any) -> Any:
    return await _typed(env, None)


@worker_case
async def booleans_bind_as_numbers(env: Any) -> Any:
    return await _typed(env, True, False)


@worker_case
async def integers_up_to_2_53_are_exact(env: Any) -> Any:
    return await _typed(env, 2**53 - 2, -(2**53 - 2), 2**31, 2**32 + 1)


@worker_case
async def a_larger_integer_is_refused(env: Any) -> Any:
    return [await _refused(env, value) for value in (2**53 - 1, -(2**53 - 1), 2**53, 2**63)]


async def _refused(env: Any, value: Any) -> Any:
    try:
        return await _typed(env, value)
    except Exception as error:  # noqa: BLE001 - which it is, is the result
        return describe(error)


@worker_case
async def text_is_kept_whatever_the_script(env: Any) -> Any:
    return await _typed(env, "", "é 漢字 😀 e\u0301", "a\r\n\tb", "'; DROP TABLE notes; --")


@worker_case
async def text_with_nul_is_kept(env: Any) -> Any:
    return await attempt(
        env.DB.prepare("SELECT ?1 AS v, length(?1) AS chars, octet_length(?1) AS bytes").bind("a\0b").first()
    )


@worker_case
async def length_counts_code_points(env: Any) -> Any:
    return await attempt(env.DB.prepare("SELECT length(?1) AS chars, octet_length(?1) AS bytes").bind("漢😀").first())


@worker_case
async def a_dict_is_refused_as_parameter(env: Any) -> Any:
    seen = await _refused(env, {"a": 1})
    return {**seen, "text": None}  # the text is left out, since workerd writes the value in its own way


@worker_case
async def a_strict_table_converts_or_refuses(env: Any) -> Any:
    db = env.DB
    sql = "INSERT INTO strict_ones (id, n, r, t) VALUES (?, ?, ?, ?)"
    whole = await attempt(db.prepare(sql).bind("a", 5, 5, "t").run())
    results = [
        await attempt(db.prepare(sql).bind("b", 5.5, 1, "t").run()),
        await attempt(db.prepare(sql).bind("c", "five", 1, "t").run()),
        await attempt(db.prepare(sql).bind("d", "7", 1, "t").run()),
        await attempt(db.prepare(sql).bind("e", 1, "x", "t").run()),
        await attempt(db.prepare(sql).bind("f", 1, 1, 42).run()),
    ]
    rows = await db.prepare(
        "SELECT id, n, typeof(n) AS tn, r, typeof(r) AS tr, t, typeof(t) AS tt FROM strict_ones ORDER BY id"
    ).all()
    return [whole["success"], [one.get("raised", "stored") for one in results], show(rows["results"])]


@worker_case
async def json_functions_are_there(env: Any) -> Any:
    sql = "SELECT value ->> 0 AS a, typeof(value ->> 0) AS t, value ->> 1 AS b FROM json_each(?) ORDER BY key"
    rows = await env.DB.prepare(sql).bind('[[1, "x"], [2.5, null], ["3", true]]').all()
    return show(rows["results"])


@worker_case
async def first_gives_a_row_a_column_or_none(env: Any) -> Any:
    db = env.DB
    return [
        await attempt(db.prepare("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'").first()),
        await attempt(db.prepare("SELECT 1 AS a, 'x' AS b").first("b")),
        await attempt(db.prepare("SELECT 1 AS a WHERE 0").first()),
        await attempt(db.prepare("SELECT 1 AS a WHERE 0").first("a")),
        await attempt(db.prepare("SELECT NULL AS a").first("a")),
        await attempt(db.prepare("SELECT 1 AS a").first("b")),
    ]


@worker_case
async def all_gives_rows_and_meta(env: Any) -> Any:
    result = await env.DB.prepare("SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y'").all()
    meta = ("changes", "duration", "last_row_id", "changed_db", "size_after", "rows_read", "rows_written")
    return [result["success"], show(result["results"]), [name in result["meta"] for name in meta]]


@worker_case
async def run_gives_rows_too(env: Any) -> Any:
    result = await env.DB.prepare("SELECT 1 AS a").run()
    return [result["success"], show(result["results"]), result["meta"]["changes"], result["meta"]["changed_db"]]


@worker_case
async def a_statement_may_be_used_again(env: Any) -> Any:
    statement = env.DB.prepare("SELECT ? AS a")
    one, two = statement.bind("one"), statement.bind("two")
    return [await attempt(one.first("a")), await attempt(two.first("a")), await attempt(one.first("a"))]


@worker_case
async def numbered_parameters_in_any_order_and_twice(env: Any) -> Any:
    return await attempt(env.DB.prepare("SELECT ?2 AS b, ?1 AS a, ?2 AS again").bind("one", "two").first())


@worker_case
async def the_clock_stands_still_within_a_statement(env: Any) -> Any:
    sql = (
        "SELECT unixepoch('subsec') = unixepoch('subsec') AS same,"
        " unixepoch('subsec') = unixepoch('now', 'subsec') AS now,"
        " typeof(unixepoch('subsec')) AS t, typeof(unixepoch()) AS whole,"
        " (SELECT count(DISTINCT unixepoch('subsec')) FROM json_each('[1,2,3,4,5,6,7,8]')) AS times,"
        " CAST(unixepoch('subsec') * 1000 AS INTEGER) > 1700000000000 AS recent"
    )
    return await attempt(env.DB.prepare(sql).first())


@worker_case
async def the_clock_never_goes_back(env: Any) -> Any:
    sql = "SELECT unixepoch('subsec') AS now"
    batch = await env.DB.batch([env.DB.prepare(sql)] * 5)
    times = [one["results"][0]["now"] for one in batch]
    later = [await env.DB.prepare(sql).first("now") for _ in range(3)]
    return [times == sorted(times), later == sorted(later), times[-1] <= later[0]]
