"""The client for asyncio. Each call runs in a thread of asyncio's default executor, over the client of gaff.client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar, Unpack

from . import api
from .client import Gaff
from .stream import Change, Stream

Row = TypeVar("Row")


class AsyncGaff:
    """The API of a gateway for asyncio: the methods of Gaff as coroutines, and asynchronous iterators."""

    def __init__(self, url: str | None = None, token: str | None = None, *, timeout: float = 60.0, retries: int = 2) -> None:
        self._gaff = Gaff(url, token, timeout=timeout, retries=retries)
        self.jobs = AsyncJobs(self._gaff)
        self.media = AsyncMediaFiles(self._gaff)
        self.events = AsyncEvents(self._gaff)
        self.runs = AsyncRuns(self._gaff)
        self.projects = AsyncProjects(self._gaff)

    async def stream(self, *, on_open: Callable[[], None] | None = None, **query: Unpack[api.StreamChangesQuery]) -> AsyncIterator[Change]:
        """Follows every change; see Gaff.stream. Leaving the loop ends the connection."""
        stream = self._gaff.stream(on_open=on_open, **query)
        try:
            while (change := await asyncio.to_thread(_next, stream)) is not None:
                yield change
        finally:
            stream.close()

    async def call(self, operation: str, *, path: dict[str, str] | None = None, query: dict[str, Any] | None = None, body: Any = None) -> Any:
        """Calls any operation of the API by its operationId."""
        return await asyncio.to_thread(self._gaff.call, operation, path=path, query=query, body=body)


def _next(stream: Stream) -> Change | None:
    return next(stream, None)


async def _rows(list_page: Callable[..., Coroutine[Any, Any, dict[str, Any]]], query: dict[str, Any]) -> AsyncIterator[Any]:
    query = {"limit": 500, **query}
    while True:
        page = await list_page(**query)
        for row in page["docs"]:
            yield row
        if not page["nextCursor"]:
            return
        query["cursor"] = page["nextCursor"]


async def _wait_for(read: Callable[[], Coroutine[Any, Any, Row]], done: Callable[[Row], bool], timeout: float | None) -> Row:
    async with asyncio.timeout(timeout):
        pause = 0.5
        while not done(row := await read()):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 5.0)
        return row


class AsyncJobs:
    def __init__(self, gaff: Gaff) -> None:
        self._sync = gaff.jobs

    async def submit(self, **job: Unpack[api.JobSubmission]) -> api.JobDetail:
        return await asyncio.to_thread(self._sync.submit, **job)

    async def register(self, id: str, **job: Unpack[api.JobRegistration]) -> api.JobDetail:
        return await asyncio.to_thread(self._sync.register, id, **job)

    async def get(self, id: str) -> api.JobDetail:
        return await asyncio.to_thread(self._sync.get, id)

    async def list(self, **query: Unpack[api.ListJobsQuery]) -> dict[str, Any]:
        return await asyncio.to_thread(self._sync.list, **query)

    def all(self, **query: Unpack[api.ListJobsQuery]) -> AsyncIterator[api.Job]:
        return _rows(self.list, dict(query))

    async def cancel(self, id: str) -> api.JobDetail:
        return await asyncio.to_thread(self._sync.cancel, id)

    async def poll(self, id: str) -> api.JobDetail:
        return await asyncio.to_thread(self._sync.poll, id)

    async def wait(self, id: str, timeout: float | None = None) -> api.JobDetail:
        return await _wait_for(lambda: self.get(id), lambda job: job["status"] in ("completed", "failed", "cancelled"), timeout)


class AsyncMediaFiles:
    def __init__(self, gaff: Gaff) -> None:
        self._sync = gaff.media

    async def get(self, id: str) -> api.Media:
        return await asyncio.to_thread(self._sync.get, id)

    async def list(self, **query: Unpack[api.ListMediaQuery]) -> dict[str, Any]:
        return await asyncio.to_thread(self._sync.list, **query)

    def all(self, **query: Unpack[api.ListMediaQuery]) -> AsyncIterator[api.Media]:
        return _rows(self.list, dict(query))

    async def download(self, id: str) -> bytes:
        return await asyncio.to_thread(self._sync.download, id)

    async def link(self, id: str) -> str:
        return await asyncio.to_thread(self._sync.link, id)

    async def unlink(self, id: str) -> None:
        await asyncio.to_thread(self._sync.unlink, id)

    async def retry(self, id: str) -> api.Media:
        return await asyncio.to_thread(self._sync.retry, id)


class AsyncEvents:
    def __init__(self, gaff: Gaff) -> None:
        self._sync = gaff.events

    async def get(self, id: str) -> api.EventDetail:
        return await asyncio.to_thread(self._sync.get, id)

    async def list(self, **query: Unpack[api.ListEventsQuery]) -> dict[str, Any]:
        return await asyncio.to_thread(self._sync.list, **query)

    def all(self, **query: Unpack[api.ListEventsQuery]) -> AsyncIterator[api.Event]:
        return _rows(self.list, dict(query))

    async def retry(self, id: str) -> Any:
        return await asyncio.to_thread(self._sync.retry, id)

    async def replay(self, id: str) -> Any:
        return await asyncio.to_thread(self._sync.replay, id)


class AsyncRuns:
    def __init__(self, gaff: Gaff) -> None:
        self._sync = gaff.runs

    async def start(self, **run: Unpack[api.RunStart]) -> api.RunDetail:
        return await asyncio.to_thread(self._sync.start, **run)

    async def get(self, id: str) -> api.RunDetail:
        return await asyncio.to_thread(self._sync.get, id)

    async def list(self, **query: Unpack[api.ListRunsQuery]) -> dict[str, Any]:
        return await asyncio.to_thread(self._sync.list, **query)

    def all(self, **query: Unpack[api.ListRunsQuery]) -> AsyncIterator[api.Run]:
        return _rows(self.list, dict(query))

    async def cancel(self, id: str) -> Any:
        return await asyncio.to_thread(self._sync.cancel, id)

    async def retry(self, id: str, **retry: Unpack[api.RunRetry]) -> Any:
        return await asyncio.to_thread(self._sync.retry, id, **retry)

    async def decide(self, id: str, **decision: Unpack[api.Decision]) -> Any:
        return await asyncio.to_thread(self._sync.decide, id, **decision)

    async def wait(self, id: str, timeout: float | None = None) -> api.RunDetail:
        return await _wait_for(lambda: self.get(id), lambda run: run["status"] != "running", timeout)


class AsyncProjects:
    def __init__(self, gaff: Gaff) -> None:
        self._sync = gaff.projects

    async def get(self, id: str) -> api.Project:
        return await asyncio.to_thread(self._sync.get, id)

    async def list(self, **query: Unpack[api.ListProjectsQuery]) -> dict[str, Any]:
        return await asyncio.to_thread(self._sync.list, **query)

    def all(self, **query: Unpack[api.ListProjectsQuery]) -> AsyncIterator[api.Project]:
        return _rows(self.list, dict(query))

    async def save(self, **project: Unpack[api.ProjectUpdate]) -> api.Project:
        return await asyncio.to_thread(self._sync.save, **project)
