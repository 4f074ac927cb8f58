"""Clients that follow a response of `/v1` by its events.

A client whose stream is cut off opens a new stream that continues after the last event that it received. Three things
must be true. The events' sequence numbers have no gap and no repetition. The pieces of text together are the text of
the end event and the text that the API shows. The stream reports the end of the response once.
"""

import json

from simulator.campaign.clients import responses, tenants
from simulator.campaign.clients.followers import ENDED_SECONDS_MOST, StreamClient
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.row_changes import InvariantBroken
from src.kernel.api.base.messages import Reply

_TEXT = "response.output_text.delta"
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_WITH_TEXT = _ENDS[:2]


class ResponseFollower(StreamClient):
    """One client that follows one response. `text` is the text that the client has received so far."""

    text = ""
    _number = -1  # The sequence number of the last event that the client got.
    _end = ""  # The name of the event that reported the response's end.

    def _request(self) -> ClientRequest:
        behind = "" if self._number < 0 else f"&starting_after={self._number}"
        path = f"{responses.path_of(self.task_key)}?stream=true{behind}"
        return ClientRequest("GET", path, headers=tenants.headers(self._tenant))

    def _take(self, event: str) -> None:
        lines = dict(line.partition(": ")[::2] for line in event.split("\n"))
        # A comment has no event, and an `error` event announces that the stream breaks off.
        if "event" not in lines or lines["event"] == "error":
            return
        name, told = lines["event"], json.loads(lines["data"])
        if self._end or told["type"] != name or told["sequence_number"] != self._number + 1:
            raise InvariantBroken(
                f"{self.task_key}: {name} {told['sequence_number']} came behind {self._number} {self._end}"
            )
        self._number += 1
        if name == _TEXT:
            self.text += told["delta"]
        if name in _ENDS:
            self._end, self._ended = name, True
            self._check_text(told["response"])

    def _check_text(self, response: dict[str, object]) -> None:
        """Check that the received text is the text of `response`, unless the response failed.

        An isolate of an older release streams the outputs of a task with a schema as they are, and does not join them.
        """
        if self.may_be_misread():
            return
        shown = json.dumps(response["output"])
        if self._end in _WITH_TEXT and json.dumps(self.text) not in shown:
            raise InvariantBroken(f"{self.task_key}: its stream told {self.text!r}, and its end {shown}")

    async def see_the_end(self) -> None:
        """Once all is quiet, check that the end event has come and that all events agree with what the API shows.

        A client that has seen the end event reads no more: after a retry the response has another end under the same
        sequence number.
        """
        if not self._end:
            await self.follow(ENDED_SECONDS_MOST)
        if self.gone:
            return
        if not self._end:
            raise InvariantBroken(f"{self.task_key} has ended, and no stream says so")
        reply = await self._fetch(
            ClientRequest("GET", responses.path_of(self.task_key), headers=tenants.headers(self._tenant))
        )
        if reply is not None and reply.status == 200:
            self._compare(reply)

    def _compare(self, reply: Reply) -> None:
        shown = json.loads(reply.body)
        if shown["id"] != responses.path_of(self.task_key).rpartition("/")[2]:
            raise InvariantBroken(f"{self.task_key}: the API shows {shown['id']}")
        if self._end in _WITH_TEXT and f"response.{shown['status']}" != self._end:
            raise InvariantBroken(f"{self.task_key}: its stream told {self._end}, and it is {shown['status']}")
        self._check_text(shown)
