"""What the API shows of tasks with a schema or gaps, once all is quiet: their value, their gaps, their coverage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from simulator.campaign.checks.formed import FORM_CODES
from simulator.campaign.checks.joined import joined
from simulator.campaign.checks.results import gaps_of
from simulator.campaign.clients import responses, tenants
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.row_changes import InvariantBroken, Row
from simulator.engine.answers import compact
from src.kernel.domain.ids import split_task_key

if TYPE_CHECKING:
    from simulator.campaign.checks.formed import Formed
    from simulator.campaign.checks.invariants import Invariants
    from simulator.campaign.clients.clients import Clients
    from src.kernel.domain.ids import TaskKey

TASKS_JUDGED: Final = "tasks with a form, as the API shows them"
QUOTES_JUDGED: Final = "quotes of results, at their pointers"
VALUES_JUDGED: Final = "values that were joined by hand"
GAPS_JUDGED: Final = "tasks with gaps, as the API shows them"


class ShownTasks:
    """Reads the tasks of one world as their clients do."""

    def __init__(self, invariants: Invariants, formed: Formed, clients: Clients) -> None:
        self._invariants = invariants
        self._formed = formed
        self._clients = clients

    async def look(self) -> None:
        """Read all tasks with a form that have ended. Raises InvariantBroken.

        A task of which no answer comes is passed over: an isolate stands still, or the task was erased.
        """
        for task_key in sorted(self._invariants.rows):
            row = self._invariants.rows.get(task_key)
            if row is None or row.structured is None:
                continue
            tenant, task_id = split_task_key(task_key)
            path = f"/api/tasks/{task_id}"
            told = await self._read(tenant, f"{path}?include=chunks")
            row = self._invariants.rows.get(task_key)
            if told is None or row is None or not row.terminal or told["status"] != row.status:
                continue
            self._check(row, told)
            if task_key in self._clients.responses:
                self._check_response(row, told, await self._read(tenant, responses.path_of(task_key)))

    async def _read(self, tenant: str, path: str) -> Any:
        reply = await self._clients.fetch(ClientRequest("GET", path, headers=tenants.headers(tenant)))
        return json.loads(reply.body) if reply is not None and reply.status == 200 else None

    def _check(self, row: Row, told: Any) -> None:
        """Compare a task that the API shows with the outputs that were accepted."""
        usage = told["usage"]
        text = self._formed.text(row.task_key)
        counters = (row.reasks, row.rejected, row.repaired, row.quotes_not_found)
        if text.schema is not None:
            shown = (usage["reasks"], usage["rejected"], usage["repaired"], usage.get("quotesNotFound", 0))
            self._require(row, shown == counters, f"the bill shows {shown}, should be {counters}")
        outputs = self._outputs(row.task_key, 0)
        if row.leaves_gaps:
            self._check_gaps(row, told)
        retry_of = None if row.retry_of is None else split_task_key(row.retry_of)[1]
        self._require(row, told.get("retryOf") == retry_of, f"it shows retryOf {told.get('retryOf')}, is {retry_of}")
        for chunk in told["chunks"]:
            self._check_chunk(row, chunk, outputs)
        if row.status == "completed":
            wanted = self._wanted(row, outputs)
            self._require(row, told["result"] == wanted, f"its result is {told['result']}, should be {wanted}")
        else:
            self._require(row, told["result"] is None, "it has a result, and has not completed")
        self._invariants.judged[TASKS_JUDGED] += 1

    def _check_gaps(self, row: Row, told: Any) -> None:
        ends = self._formed.text(row.task_key).ends
        if row.status != "completed":
            return
        gaps = sorted(gaps_of(self._invariants, row))
        spans = [(gap, ends[gap - 1] if gap else 0, ends[gap]) for gap in gaps]
        shown = [(gap["chunk"], gap["start"], gap["end"]) for gap in told["gaps"]]
        self._require(row, shown == spans, f"it shows the gaps {shown}, should be {spans}")
        coverage = (ends[-1] - sum(end - start for _, start, end in spans)) / ends[-1]
        self._require(row, told["coverage"] == coverage, f"it shows coverage {told['coverage']}, should be {coverage}")
        self._invariants.judged[GAPS_JUDGED] += bool(gaps)

    def _check_chunk(self, row: Row, chunk: Any, outputs: dict[int, str]) -> None:
        place, status = chunk["index"], chunk["status"]
        self._require(row, chunk["output"] == outputs.get(place), f"chunk {place} is shown as {chunk['output']!r}")
        is_done = place in outputs
        self._require(row, is_done == (status == "completed"), f"chunk {place} is shown as {status}")
        rejected = chunk.get("rejected")
        if rejected is not None:
            self._require(row, bool(rejected["errors"]), f"chunk {place} was rejected without a reason")
            worth = self._invariants.world.model.worth(rejected["output"])
            self._require(row, worth is None, f"chunk {place} has rejected {worth}")
        elif status == "gap":
            code = chunk["error"]["code"]
            self._require(row, code not in FORM_CODES, f"chunk {place} is a gap by {code}, and shows no answer")

    def _wanted(self, row: Row, outputs: dict[int, str]) -> Any:
        """Make the result of the accepted outputs, in order."""
        schema = self._formed.text(row.task_key).schema
        top = 0
        if row.reduce == "merge" and row.total > 1:
            top = max(int(level) for of, level, _ in self._invariants.outputs if of == row.task_key)
            outputs = self._outputs(row.task_key, top)
        in_order = [outputs[place] for place in sorted(outputs)]
        if row.reduce == "none":
            listed = [outputs.get(place) for place in range(row.total)]
            if schema is None:
                return {"output": listed}
            value = [None if one is None else json.loads(one) for one in listed]
            return {"output": listed, "value": value, **self._quotes(row, value, 0)}
        if schema is None:
            return {"output": "\n\n".join(in_order)}
        values = [json.loads(output) for output in in_order]
        value = joined(schema, values) if row.reduce == "concat" else values[0]
        self._invariants.judged[VALUES_JUDGED] += row.reduce == "concat" and len(values) > 1
        return {"output": compact(value), "value": value, **self._quotes(row, value, top)}

    def _quotes(self, row: Row, value: Any, level: int) -> dict[str, Any]:
        """Make what the result says about quotes: those of the outputs in order, of equal ones in a union the first."""
        schema = self._formed.text(row.task_key).schema
        if schema is None or "quotes" not in schema["properties"]:
            return {}
        found: list[dict[str, Any]] = []
        for place, output in sorted(self._outputs(row.task_key, level).items()):
            for quote in self._formed.placed[row.task_key, str(level), str(place)]:
                text = json.loads(output)["quotes"][int(quote.pointer.rpartition("/")[2])]
                if row.reduce == "none":
                    pointer = f"/{place}{quote.pointer}"
                elif row.reduce == "concat":
                    pointer = f"/quotes/{value['quotes'].index(text)}"
                else:
                    pointer = quote.pointer
                if all(one["pointer"] != pointer for one in found):
                    found.append({"pointer": pointer, "start": quote.start, "end": quote.end})
        self._invariants.judged[QUOTES_JUDGED] += len(found)
        return {"quotes": found}

    def _outputs(self, task_key: TaskKey, at: int) -> dict[int, str]:
        found = self._invariants.outputs.items()
        return {int(place): output for (of, level, place), output in found if (of, level) == (task_key, str(at))}

    def _check_response(self, row: Row, told: Any, response: Any) -> None:
        """Compare a response with the task that it is."""
        if response is None or row.status != "completed":
            return
        wanted = "incomplete" if row.failed or told["progress"]["truncated"] else "completed"
        self._require(row, response["status"] == wanted, f"its response is {response['status']}, should be {wanted}")
        (message,) = response["output"]
        text = message["content"][0]["text"]
        self._require(row, text == told["result"]["output"], f"its response says {text!r}")

    def _require(self, row: Row, holds: bool, what: str) -> None:
        if not holds:
            raise InvariantBroken(f"{row.task_key} ({row.status}, fence {row.fence}): {what}")
