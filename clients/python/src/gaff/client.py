"""Calls the API of a gateway."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, Unpack, cast

from . import api
from ._http import Transport
from .stream import Stream

Row = TypeVar("Row")

_SETTLED = ("completed", "failed", "cancelled")
# How often wait reads a row, in seconds: from the first time to the second one.
_WAIT_FIRST, _WAIT_MOST = 0.5, 5.0


class Gaff:
    """The API of a gateway. It raises GaffError for errors of the API, and OSError for those of the connection.

    url and token default to the environment's GAFF_URL and GAFF_TOKEN. Requests that may be repeated are repeated after
    connection errors and 429, 502, 503 and 504.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout: float = 60.0, retries: int = 2) -> None:
        self._transport = Transport(url, token, timeout, retries)
        self.jobs = Jobs(self._transport)
        self.media = MediaFiles(self._transport)
        self.events = Events(self._transport)
        self.runs = Runs(self._transport)
        self.projects = Projects(self._transport)

    def stream(self, *, on_open: Callable[[], None] | None = None, **query: Unpack[api.StreamChangesQuery]) -> Stream:
        """Follows every change of an event, job, file or run, such as stream(kinds="job,media").

        It reconnects after an interruption and continues after the last change. on_open is called at each connection: no
        change after it is missed.
        """
        return Stream(self._transport, dict(query), on_open)

    def call(self, operation: str, *, path: dict[str, str] | None = None, query: dict[str, Any] | None = None, body: Any = None) -> Any:
        """Calls any operation of the API by its operationId, such as "create-destination"."""
        return self._transport.call(operation, path, query, body)


class Collection(Generic[Row]):
    """A list with pages."""

    _list: str

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _page(self, query: dict[str, Any]) -> dict[str, Any]:
        return cast(dict[str, Any], self._transport.call(self._list, query=query))

    def _all(self, query: dict[str, Any]) -> Iterator[Row]:
        query = {"limit": 500, **query}
        while True:
            page = self._page(query)
            yield from page["docs"]
            if not page["nextCursor"]:
                return
            query["cursor"] = page["nextCursor"]


def wait_for(read: Callable[[], Row], done: Callable[[Row], bool], timeout: float | None) -> Row:
    """Reads a row until it is done. Raises TimeoutError."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _WAIT_FIRST
    while not done(row := read()):
        if deadline is not None and time.monotonic() + pause > deadline:
            raise TimeoutError(f"not done within {timeout} s; it goes on at the gateway")
        time.sleep(pause)
        pause = min(pause * 1.5, _WAIT_MOST)
    return row


class Jobs(Collection[api.Job]):
    _list = "list-jobs"

    def submit(self, **job: Unpack[api.JobSubmission]) -> api.JobDetail:
        """Submits a job. Without an idempotencyKey it gets a new one, so that a broken connection does not submit it twice."""
        body = {"idempotencyKey": str(uuid.uuid4()), **job}
        return cast(api.JobDetail, self._transport.call("submit-job", body=body, repeatable=True))

    def register(self, id: str, **job: Unpack[api.JobRegistration]) -> api.JobDetail:
        """Registers a job that your application submits itself, under an id of your own."""
        return cast(api.JobDetail, self._transport.call("register-job", {"id": id}, body=job))

    def get(self, id: str) -> api.JobDetail:
        return cast(api.JobDetail, self._transport.call("get-job", {"id": id}))

    def list(self, **query: Unpack[api.ListJobsQuery]) -> dict[str, Any]:
        """One page, newest first: docs, and nextCursor, which names the next one."""
        return self._page(dict(query))

    def all(self, **query: Unpack[api.ListJobsQuery]) -> Iterator[api.Job]:
        """All rows, newest first, page by page."""
        return self._all(dict(query))

    def cancel(self, id: str) -> api.JobDetail:
        """Cancels a job, also at the provider."""
        return cast(api.JobDetail, self._transport.call("cancel-job", {"id": id}))

    def poll(self, id: str) -> api.JobDetail:
        """Polls the provider for a job now."""
        return cast(api.JobDetail, self._transport.call("ask-job", {"id": id}))

    def wait(self, id: str, timeout: float | None = None) -> api.JobDetail:
        """Waits until a job is completed, failed or cancelled, and returns it; check its status."""
        return wait_for(lambda: self.get(id), lambda job: job["status"] in _SETTLED, timeout)


class MediaFiles(Collection[api.Media]):
    _list = "list-media"

    def get(self, id: str) -> api.Media:
        """The row of a file, with fresh links to gaff's copy."""
        return cast(api.Media, self._transport.call("get-media", {"id": id}))

    def list(self, **query: Unpack[api.ListMediaQuery]) -> dict[str, Any]:
        """One page, newest first: docs, and nextCursor, which names the next one."""
        return self._page(dict(query))

    def all(self, **query: Unpack[api.ListMediaQuery]) -> Iterator[api.Media]:
        """All rows, newest first, page by page."""
        return self._all(dict(query))

    def download(self, id: str) -> bytes:
        """The content of gaff's copy of a file."""
        with self._transport.open("get-media-file", {"id": id}, accept="*/*") as response:
            return response.read()

    def link(self, id: str) -> str:
        """A permanent link to gaff's copy, which needs no token; the same one each time until it is revoked."""
        return cast(str, self._transport.call("link-media", {"id": id}, repeatable=True)["linkUrl"])

    def unlink(self, id: str) -> None:
        """Revokes the permanent link."""
        self._transport.call("unlink-media", {"id": id})

    def retry(self, id: str) -> api.Media:
        """Copies a file that has no copy."""
        return cast(api.Media, self._transport.call("retry-media", {"id": id}))


class Events(Collection[api.Event]):
    _list = "list-events"

    def get(self, id: str) -> api.EventDetail:
        return cast(api.EventDetail, self._transport.call("get-event", {"id": id}))

    def list(self, **query: Unpack[api.ListEventsQuery]) -> dict[str, Any]:
        """One page, newest first: docs, and nextCursor, which names the next one."""
        return self._page(dict(query))

    def all(self, **query: Unpack[api.ListEventsQuery]) -> Iterator[api.Event]:
        """All rows, newest first, page by page."""
        return self._all(dict(query))

    def retry(self, id: str) -> Any:
        """Retries the dead deliveries of an event."""
        return self._transport.call("retry-event", {"id": id})

    def replay(self, id: str) -> Any:
        """Processes an event again by all its handlers."""
        return self._transport.call("replay-event", {"id": id})


class Runs(Collection[api.Run]):
    _list = "list-runs"

    def start(self, **run: Unpack[api.RunStart]) -> api.RunDetail:
        """Starts a run of a workflow. Without an idempotencyKey it gets a new one, as jobs do."""
        body = {"idempotencyKey": str(uuid.uuid4()), **run}
        return cast(api.RunDetail, self._transport.call("start-run", body=body, repeatable=True))

    def get(self, id: str) -> api.RunDetail:
        return cast(api.RunDetail, self._transport.call("get-run", {"id": id}))

    def list(self, **query: Unpack[api.ListRunsQuery]) -> dict[str, Any]:
        """One page, newest first: docs, and nextCursor, which names the next one."""
        return self._page(dict(query))

    def all(self, **query: Unpack[api.ListRunsQuery]) -> Iterator[api.Run]:
        """All rows, newest first, page by page."""
        return self._all(dict(query))

    def cancel(self, id: str) -> Any:
        return self._transport.call("cancel-run", {"id": id})

    def retry(self, id: str, **retry: Unpack[api.RunRetry]) -> Any:
        """Retries a failed run, from a step, or for one item of it."""
        return self._transport.call("retry-run", {"id": id}, body=retry)

    def decide(self, id: str, **decision: Unpack[api.Decision]) -> Any:
        """Approves or rejects a waiting step."""
        return self._transport.call("decide-run", {"id": id}, body=decision)

    def wait(self, id: str, timeout: float | None = None) -> api.RunDetail:
        """Waits until a run is completed, failed or cancelled, and returns it; check its status."""
        return wait_for(lambda: self.get(id), lambda run: run["status"] != "running", timeout)


class Projects(Collection[api.Project]):
    _list = "list-projects"

    def get(self, id: str) -> api.Project:
        return cast(api.Project, self._transport.call("get-project", {"id": id}))

    def list(self, **query: Unpack[api.ListProjectsQuery]) -> dict[str, Any]:
        """One page, newest first: docs, and nextCursor, which names the next one."""
        return self._page(dict(query))

    def all(self, **query: Unpack[api.ListProjectsQuery]) -> Iterator[api.Project]:
        """All rows, newest first, page by page."""
        return self._all(dict(query))

    def save(self, **project: Unpack[api.ProjectUpdate]) -> api.Project:
        """Creates a project, or sets its name, owner and metadata."""
        return cast(api.Project, self._transport.call("save-project", body=project, repeatable=True))
