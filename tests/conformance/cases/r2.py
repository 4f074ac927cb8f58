"""Cases about R2, by the Worker's own protocol: what a bucket stores, reads, lists and deletes."""

import asyncio
from typing import Any

from tests.conformance.cases.registry import attempt, worker_case


async def _emptied(env: Any) -> Any:
    objects, _ = await env.BLOBS.list("", "", 1_000)
    if objects:
        await env.BLOBS.delete([one.key for one in objects])
    return env.BLOBS


async def _keys(bucket: Any, prefix: str = "", after: str = "", most: int = 1_000) -> list[Any]:
    objects, more = await bucket.list(prefix, after, most)
    return [[one.key for one in objects], more]


@worker_case
async def an_object_is_read_in_ranges(env: Any) -> Any:
    bucket = await _emptied(env)
    await bucket.put("a/b/0", bytes(range(256)))
    ranges = ((0, 256), (0, 1), (255, 1), (10, 20), (250, 100))
    return [await attempt(bucket.get("a/b/0", *one)) for one in ranges]


@worker_case
async def a_range_behind_the_end_is_refused(env: Any) -> Any:
    bucket = await _emptied(env)
    await bucket.put("a", b"abc")
    return await attempt(bucket.get("a", 3, 1))


@worker_case
async def what_is_not_there_is_none(env: Any) -> Any:
    bucket = await _emptied(env)
    return [
        await attempt(bucket.get("none", 0, 1)),
        await attempt(bucket.delete(["none", "nor this"])),
        await _keys(bucket),
        await _keys(bucket, "prefix"),
    ]


@worker_case
async def a_buffer_is_stored_and_used_again(env: Any) -> Any:
    bucket = await _emptied(env)
    buffer = bucket.buffer(100)
    seen: list[Any] = []
    for name, chunks in (("0", (b"abc", b"", b"defg")), ("1", (b"xy",)), ("2", ())):
        buffer.clear()
        for chunk in chunks:
            buffer.append(chunk)
        await bucket.put(name, buffer)
        seen.append(len(buffer))
    return [*seen, await attempt(bucket.get("0", 0, 7)), await attempt(bucket.get("1", 0, 2)), await _keys(bucket)]


@worker_case
async def a_large_buffer_has_all_of_its_bytes(env: Any) -> Any:
    bucket = await _emptied(env)
    buffer = bucket.buffer(1_500_000)
    for number in range(1, 6):
        buffer.append(bytes([number]) * 300_000)
    await bucket.put("0", buffer)
    buffer.clear()
    buffer.append(b"xy")
    await bucket.put("1", buffer)
    ranges = ((0, 2), (299_999, 2), (599_999, 2), (899_999, 2), (1_199_999, 2), (1_499_998, 2))
    return [*[await attempt(bucket.get("0", *one)) for one in ranges], await attempt(bucket.get("1", 0, 2))]


@worker_case
async def a_put_replaces_what_was_there(env: Any) -> Any:
    bucket = await _emptied(env)
    await bucket.put("a", b"longer")
    await bucket.put("a", b"new")
    await bucket.put("a", b"new")
    return [await attempt(bucket.get("a", 0, 3)), await _keys(bucket)]


@worker_case
async def objects_are_listed_by_their_keys(env: Any) -> Any:
    bucket = await _emptied(env)
    keys = ["b/2", "a/1", "b/10", "b/1", "a", "B/1", "b0", "b", "b/é", "b/z"]
    await asyncio.gather(*(bucket.put(key, b"x") for key in keys))
    return [
        await _keys(bucket),
        await _keys(bucket, "b/"),
        await _keys(bucket, "b/", "b/1"),
        await _keys(bucket, "", "b/1", 2),
        await _keys(bucket, "", "b/11", 2),
        await _keys(bucket, most=len(keys)),
        await _keys(bucket, most=len(keys) - 1),
        await _keys(bucket, "", "zzz"),
    ]


@worker_case
async def a_listing_has_times(env: Any) -> Any:
    bucket = await _emptied(env)
    await bucket.put("a", b"x")
    ((first, *_), _) = await bucket.list("", "", 10)
    await bucket.put("a", b"x")
    ((second, *_), _) = await bucket.list("", "", 10)
    return [isinstance(first.stored_at, int), first.stored_at > 10**12, second.stored_at >= first.stored_at]


@worker_case
async def many_objects_are_deleted_at_once(env: Any) -> Any:
    bucket = await _emptied(env)
    for at in range(30):
        await bucket.put(f"a/{at:02}", b"x")
    await bucket.delete([f"a/{at:02}" for at in range(29)] + ["none"])
    return await _keys(bucket)


@worker_case
async def a_large_part_is_stored(env: Any) -> Any:
    bucket = await _emptied(env)
    size = 8 * 1024 * 1024
    buffer = bucket.buffer(size)
    for at in range(128):
        buffer.append(bytes([at]) * 65_536)
    await bucket.put("large", buffer)
    last = await bucket.get("large", size - 2, 2)
    return [len(buffer), list(last), len(await bucket.get("large", 0, size))]
