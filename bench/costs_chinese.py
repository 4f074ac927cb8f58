"""Makes the Chinese page of costs from the English page, by translating its sentences and the names of its rows.

The figures of the Chinese page are copied from the English page unchanged. An English sentence without a Chinese
translation is an error.
"""

import re

# This table maps whole English paragraphs, without their line breaks, to Chinese ones. `{}` marks a part that is copied
# unchanged.
_PARAGRAPHS = {
    "# What a day carries, and what it costs": "# 一天能处理多少，要花多少钱\n\nEnglish: [costs.md](costs.md)。",
    "中文版：[costs.zh-CN.md](costs.zh-CN.md).": "",
    "A task here has 20 chunks of 6,000 characters, and outputs of 1,000. The use of one task was measured on the "
    "local runtime (`python -m bench.free_plan`, `python -m bench storage`, commit {}). This page combines it with "
    "Cloudflare's limits and prices of November 2026. `python -m bench.costs` writes it; a test keeps it current.": (
        "这里的任务有 20 个分片，每片 6,000 个字符，输出 1,000 个字符。单个任务的消耗在本地运行时上测得"
        "（`python -m bench.free_plan`、`python -m bench storage`，提交 {}）。"
        "本页把它与 Cloudflare 在 2026 年 11 月的限额和价格相乘得出。"
        "本页由 `python -m bench.costs` 生成，有测试保证它不过时。"
    ),
    "The model is `workers-ai`'s default, `@cf/qwen/qwen3-30b-a3b-fp8`. Its tokens are estimated as `dryRun` does, "
    "with four characters a token in English and one in Chinese, plus 750 tokens a call for its thinking. They were "
    "not measured on an account. Other providers have their own limits.": (
        "模型是 `workers-ai` 的默认模型 `@cf/qwen/qwen3-30b-a3b-fp8`。token 数按 `dryRun` 的方法估算："
        "英文四个字符一个 token，中文一个字符一个，另加每次调用思考用的 750 个 token。"
        "没有在真实账号上测过。别的模型服务有自己的限额。"
    ),
    "## The free plan": "## 免费套餐",
    "Rows written come from the cheapest run, in which all calls take equally long: {} for the task and {} for its "
    "erasure. With calls of 2 to 10 s a task writes {} to {}, and {} for its erasure. A day then allows {} to {} such "
    "tasks on both routes: with another model and early erasure, rows written are then the first limit.": (
        "写入行数取自开销最小的运行，即各次调用耗时相同：任务 {} 行，清除 {} 行。"
        "调用耗时在 2 到 10 s 之间时，任务写入 {} 到 {} 行，清除另计 {} 行。"
        "这样一天在两条路由上都能处理 {} 到 {} 个任务；换用别的模型并提前清除时，最先用完的就是写入行数。"
    ),
    "## The paid plan": "## 付费套餐",
    "The first limit:": "最先用完的是：",
    "These have a limit at any price, the lowest first:": ("下面这些不论付多少钱都有上限，按用完的先后排列："),
    "## A month of 1,000,000 tasks a day on the paid plan": "## 付费套餐，每天 1,000,000 个任务，一个月",
    "So a task costs {} cents on the platform, and Workers AI adds {} cents in English and {} in Chinese.": (
        "也就是说，每个任务的平台费用是 {} 美分；Workers AI 另收 {} 美分（英文）或 {} 美分（中文）。"
    ),
    "## A batch of {} lines": "## 一个 {} 行的批处理",
    "The lines and the answers have some 300 characters each, and each model call takes five seconds. What the model "
    "costs is not included. The counters come from a simulation of the platform, from the upload to the erasure of "
    "the files; the rows read come from the local runtime (`python -m bench.batches --counts`).": (
        "每行和每个回答约 300 个字符，每次模型调用耗时五秒，模型的费用不计在内。"
        "各项计数来自平台的模拟，从上传算到文件清除为止；读取行数来自本地运行时"
        "（`python -m bench.batches --counts`）。"
    ),
    "On the free plan:": "免费套餐：",
    "A batch on the queue and the paid plan, at the prices beyond what a month includes:": (
        "付费套餐，走队列的一个批处理，按超出每月包含额度后的单价计算："
    ),
    "Together {} dollars, without CPU. A line takes {} ms of processor time in all processes of `make dev`, which "
    "would be {} dollars a batch. With calls of 2 to 10 s the batch writes {} rows to D1. It reads {} rows a line; a "
    "chunk of a task takes {}. Without objects (`direct`) calls end one by one, and a batch with such calls writes "
    "1.3 rows a line.": (
        "合计 {} 美元，不含 CPU。在 `make dev` 的所有进程中，每行用 {} ms 处理器时间，相当于每个批处理 {} 美元。"
        "调用耗时在 2 到 10 s 之间时，批处理向 D1 写入 {} 行。每行读取 {} 行记录；任务的一个分片读取 {} 行。"
        "没有对象时（`direct`），调用逐个结束，这样的批处理每行写入 1.3 行记录。"
    ),
    "- `RETENTION_DAYS` 0 removes the limit of storage: the first sweep after a task's end erases it.": (
        "- `RETENTION_DAYS` 设为 0，存储就不再是瓶颈：任务结束后由下一次巡检清除。"
    ),
    "- Storage counts up to `STORAGE_MB_MOST`, with completed tasks without their input.": (
        "- 存储算到 `STORAGE_MB_MOST` 为止，按已完成的任务计算，它们的输入已经清空。"
    ),
    "- SQLite's own time depends on the processor that measured it. D1's additional time was not measured.": (
        "- SQLite 自身的时间取决于测量所用的处理器，D1 额外增加的时间没有测过。"
    ),
    "- Consumers: four waves of calls of five seconds.": "- 消费者：四批调用，每批五秒。",
    "- The rows written below come from the cheapest run too. With uneven calls that line costs up to twice as much.": (
        "- 下表的写入行数同样取自开销最小的运行。调用耗时不一时，这一行的费用最多翻倍。"
    ),
}
# This table maps parts of rows and of verdicts to Chinese. The longer parts come first.
_WORDS = {
    "| | a batch, queue | a batch, objects | batches a day, queue | batches a day, objects |": (
        "| | 单个批处理，队列 | 单个批处理，对象 | 每天批处理数，队列 | 每天批处理数，对象 |"
    ),
    "| | a batch | dollars |": "| | 单个批处理 | 美元 |",
    "R2, class A: puts and lists": "R2 A 类操作：写入和列举",
    "R2, class B: gets": "R2 B 类操作：读取",
    "MB in R2, kept for 30 days": "R2 中的 MB 数，保留 30 天",
    "a task, queue": "单个任务，队列",
    "a task, objects": "单个任务，对象",
    "tasks a day, queue": "每天任务数，队列",
    "tasks a day, objects": "每天任务数，对象",
    "| | a task | tasks a day |": "| | 单个任务 | 每天任务数 |",
    "| on the queue | a month | dollars |": "| 走队列 | 一个月 | 美元 |",
    "with `RETENTION_DAYS` 0, without which the database is too small for 1,000,000 tasks a day, ": (
        "`RETENTION_DAYS` 设为 0 时（不然数据库装不下每天 1,000,000 个任务）："
    ),
    "with another model, early erasure and calls of one length, ": "换用别的模型、提前清除、各次调用耗时相同时，",
    "with another model and early erasure, ": "换用别的模型并提前清除时，",
    "requests of the Worker": "Worker 请求数",
    "D1 rows read": "D1 读取行数",
    "D1 rows written": "D1 写入行数",
    "queue operations": "队列操作数",
    "storage, English, kept for 30 days": "存储，英文，保留 30 天",
    "storage, Chinese, kept for 30 days": "存储，中文，保留 30 天",
    "storage, English, erased early, after a day": "存储，英文，一天后提前清除",
    "storage, Chinese, erased early, after a day": "存储，中文，一天后提前清除",
    "free neurons, English": "免费 neurons，英文",
    "free neurons, Chinese": "免费 neurons，中文",
    "neurons, English": "neurons，英文",
    "neurons, Chinese": "neurons，中文",
    "object requests": "对象请求数",
    "object rows written": "对象写入行数",
    "GB-s of objects": "对象的 GB-s",
    "model calls, 300 a minute (Workers AI)": "模型调用，每分钟 300 次（Workers AI）",
    "sweeps that erase early": "巡检的提前清除能力",
    "sweeps that erase after the retention": "巡检在保留期满后的清除能力",
    "consumers of the queue, 250 at a time": "队列的消费者，同时 250 个",
    "SQLite's own time, one statement at a time": "SQLite 自身的时间，一次一条语句",
    "CPU, ms": "CPU，ms",
    "GB of D1, as full as it may be": "D1 的 GB 数，装到上限",
    "- queue: ": "- 队列：",
    "- English: ": "- 英文：",
    "- Chinese: ": "- 中文：",
    "- durable-object: ": "- 对象：",
    " bytes ": " 字节 ",
}
_AT = re.compile(r"(?P<what>[^：]+), at (?P<count>[\d.,]+) (?P<kind>tasks|batches) a day$")
_KINDS = {"tasks": "任务", "batches": "批处理"}
_ENGLISH = re.compile(r"[A-Za-z']+(?: [A-Za-z']+){2,}")


def translated(page: str) -> str:
    """Return the page in Chinese. Raise `ValueError` for a line with an unknown part."""
    done = []
    for paragraph in re.split(r"\n\n", page.strip()):
        lines = paragraph.split("\n")
        is_list = lines[0].startswith(("|", "- "))
        found = [_line(line) for line in lines] if is_list else [_sentence(" ".join(lines))]
        done.append("\n".join(found))
    return "\n\n".join(part for part in done if part) + "\n"


def _sentence(text: str) -> str:
    for english, chinese in _PARAGRAPHS.items():
        if match := re.fullmatch(re.escape(english).replace(r"\{\}", "(.+?)"), text):
            return chinese.format(*match.groups())
    raise ValueError(f"no Chinese for: {text}")


def _at(match: re.Match[str]) -> str:
    return f"{match['what']}，每天 {match['count']} 个{_KINDS[match['kind']]}"


def _line(line: str) -> str:
    if line in _PARAGRAPHS:
        return _PARAGRAPHS[line]
    for english in sorted(_WORDS, key=len, reverse=True):
        line = line.replace(english, _WORDS[english])
    if match := _AT.fullmatch(line):
        line = _at(match)
    elif ", at " in line:
        before, _, after = line.rpartition("：")
        match = _AT.fullmatch(after)
        if match is None:
            raise ValueError(f"no Chinese for: {line}")
        line = f"{before}：{_at(match)}"
    if left := _ENGLISH.search(re.sub(r"`[^`]+`", "", line)):
        raise ValueError(f"no Chinese for: {left[0]}")
    return line
