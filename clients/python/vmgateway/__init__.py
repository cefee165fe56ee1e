"""A client of the VM gateway, which needs nothing but Python's own library.

Any call of the gateway's contract is ``Gateway.call``, by method and path; what it answers is plain JSON. Beside
it are a session, errors with their code, the end of an operation, lists of any length, and events that miss nothing.
"""

from __future__ import annotations

import json
import random
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from types import TracebackType
from typing import Any, cast
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPSHandler, Request, build_opener

__all__ = ["Events", "Gateway", "Listing", "MissingError", "OperationError", "ProblemError"]

JSON = dict[str, Any]

# All in seconds.
_TIMEOUT = 90.0  # for an answer to begin or to go on
_PATIENCE = 60.0  # how long a call waits in all when the gateway says, by 429, to come back later
_SILENCE = 45.0  # how long nothing may come from a stream of events, which has a heartbeat every 15
_MAX_BACKOFF = 30.0  # the longest wait between two attempts, unless Retry-After says more
_WAIT = 60.0  # how long one read of an operation waits for its end at the gateway


class ProblemError(Exception):
    """An answer that is no success: nearly always a problem document of the gateway. Act on its code.

    One of a proxy in between has a status, and neither code nor problem.
    """

    def __init__(self, status: int, problem: JSON | None = None, retry_after: float | None = None) -> None:
        super().__init__(_text(problem) if problem else f"HTTP {status}")
        self.status = status
        self.problem = problem
        self.code: str | None = problem["code"] if problem else None
        self.retry_after = retry_after  # how many seconds to wait, if that was said


class OperationError(Exception):
    """An operation that has ended, but not as SUCCEEDED. Its cause, if the gateway says why, is a ProblemError."""

    def __init__(self, operation: JSON) -> None:
        vm, problem = operation.get("vm"), operation.get("error")
        text = f"{operation['verb']}{f' of {vm}' if vm else ''}: {operation['state']}"
        super().__init__(f"{text}: {_text(problem)}" if problem else text)
        self.operation = operation
        self.code: str | None = problem["code"] if problem else None
        self.__cause__ = ProblemError(problem["status"], problem) if problem else None


class MissingError(Exception):
    """All VMs of a list have come, except for what this names."""

    def __init__(self, unreachable: list[JSON], undecodable: list[JSON], undecodable_total: int) -> None:
        parts = [f"{missing['backend']}: {_text(missing['problem'])}" for missing in unreachable]
        if undecodable_total:
            parts.append(f"VMs that cannot be read: {undecodable_total}")
        super().__init__("the list is not complete: " + "; ".join(parts))
        self.unreachable = unreachable
        self.undecodable = undecodable  # 100 at most for each page
        self.undecodable_total = undecodable_total


def _text(problem: JSON) -> str:
    return f"{problem['code']}: {problem.get('detail', problem['title'])}"


class _Secret(str):
    """A text that does not show itself where it is inspected."""

    def __repr__(self) -> str:
        return "'[secret]'"


class Gateway:
    """One session at a gateway. As a context manager it logs out at the end."""

    def __init__(self, url: str, *, token: str | None = None, context: ssl.SSLContext | None = None) -> None:
        """Uses the session of a token, or none. The context says which certificates are trusted."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("expected the URL of a gateway, such as https://gateway.example.org")
        self.url = url.rstrip("/")
        self._authorization = _Secret(f"Bearer {token}") if token is not None else None
        self._opener = build_opener(HTTPSHandler(context=context))

    @classmethod
    def log_in(
        cls, url: str, backend: str, username: str, password: str, *, context: ssl.SSLContext | None = None
    ) -> Gateway:
        """Begins a session. ``POST /sessions/current/logins`` adds another backend to it."""
        gateway = cls(url, context=context)
        credentials = {"backend": backend, "username": username, "password": password}
        session = gateway.call("POST", "/sessions", credentials)
        gateway._authorization = _Secret(f"Bearer {session['token']}")
        return gateway

    def log_out(self) -> None:
        """Ends the session."""
        self.call("DELETE", "/sessions/current")

    def __repr__(self) -> str:
        return f"Gateway({self.url!r})"

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log_out()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = _TIMEOUT,
        **ids: str,
    ) -> Any:
        """Makes a call of the contract, and answers the JSON of its answer, or None if there is none.

        The ids fill in the path: ``call("POST", "/vms/{vm}:migrate", {"host": host}, vm=vm)``. In a query, lists are
        written with commas, and what is None is left out. What is no success is a ProblemError.
        """
        for name, value in ids.items():
            if f"{{{name}}}" not in path:
                raise TypeError(f"{path} has no {{{name}}}")
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        left = _PATIENCE
        while True:
            try:
                with self._open(method, path, body, query, headers, timeout) as response:
                    text = response.read()
                    return json.loads(text) if response.status != 204 else None
            except ProblemError as error:  # one that is called too often has not carried it out
                if error.status != 429 or not error.retry_after or error.retry_after > left:
                    raise
                left -= error.retry_after
                time.sleep(error.retry_after)

    def wait(self, operation: JSON, *, timeout: float | None = None) -> JSON:
        """The operation as it has ended. An end that is not SUCCEEDED is an OperationError.

        What may pass, such as a backend that cannot be reached, does not end the wait; a timeout in seconds does, by
        a TimeoutError.
        """
        end = None if timeout is None else time.monotonic() + timeout
        failures = 0
        while operation["state"] == "RUNNING":
            left = _WAIT if end is None else end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{operation['id']} still runs")
            try:
                query = {"waitSeconds": max(1, int(min(left, _WAIT)))}
                operation = self.call("GET", "/operations/{operation}", query=query, operation=operation["id"])
                failures = 0
            except (ProblemError, OSError, HTTPException) as error:
                if not _transient(error):
                    raise
                time.sleep(min(_backoff(failures, error), max(0.0, left)))
                failures += 1
        if operation["state"] != "SUCCEEDED":
            raise OperationError(operation)
        return operation

    def vms(self, *, stream: bool = False, **query: Any) -> Listing:
        """All VMs that fit the query, however many.

        They come page by page, each when the caller comes to it. A stream is one call, and the fastest for very many:
        it takes no order and no pages, and whoever lets it wait for 30 seconds is cut off, which is an error.
        """
        return Listing(self._stream if stream else self._pages, query)

    def follow(self, **query: Any) -> Events:
        """The stream of events.

        It answers when the stream stands: nothing that happens from then on is missed, and nothing since the
        ``cursor``, if there is one.
        """
        return Events(lambda headers: self._open("GET", "/events", None, query, headers, _SILENCE))

    def _pages(self, listing: Listing, query: JSON) -> Generator[JSON, None, MissingError | None]:
        unreachable: dict[str, JSON] = {}  # pages may name the same again
        undecodable: list[JSON] = []
        total = 0
        first = True
        while first or query["pageToken"]:
            page = self.call("GET", "/vms", query=query)
            if first:  # what changes while the others are read is told behind it
                listing.cursor = page.get("cursor")
                first = False
            unreachable.update((missing["backend"], missing) for missing in page["unreachable"])
            known = {missing.get("id") for missing in undecodable}
            undecodable += [m for m in page["undecodable"] if "id" not in m or m["id"] not in known]
            total = max(total, page["undecodableTotal"], len(undecodable))
            yield from page["vms"]
            query = {**query, "pageToken": page.get("nextPageToken")}
        if unreachable or total:
            return MissingError(list(unreachable.values()), undecodable, total)
        return None

    def _stream(self, listing: Listing, query: JSON) -> Generator[JSON, None, MissingError | None]:
        with self._open("GET", "/vms", None, query, {"Accept": "application/x-ndjson"}, _TIMEOUT) as response:
            for line in _lines(response):
                vm = json.loads(line)
                if "summary" not in vm:
                    yield vm
                    continue
                summary = vm["summary"]
                listing.cursor = summary.get("cursor")
                if summary["unreachable"] or summary["undecodableTotal"]:
                    return MissingError(summary["unreachable"], summary["undecodable"], summary["undecodableTotal"])
                return None
        raise ConnectionError("the stream of VMs was cut")  # the last line is the summary

    def _open(
        self,
        method: str,
        path: str,
        body: Any,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout: float,
    ) -> HTTPResponse:
        """Makes one attempt at a call; the caller closes the response."""
        values = {name: _parameter(value) for name, value in (query or {}).items() if value is not None}
        url = f"{self.url}{path}?{urlencode(values)}" if values else self.url + path
        request = Request(url, method=method, headers=dict(headers or {}))
        if body is not None:
            request.data = json.dumps(body).encode()
            if not request.has_header("Content-type"):
                request.add_header("Content-Type", "application/json")
        if self._authorization is not None:
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            response: HTTPResponse = self._opener.open(request, timeout=timeout)
            return response
        except HTTPError as error:
            with error:
                refusal = _refused(error)
        raise refusal


def _parameter(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(str(part) for part in cast("Iterable[object]", value))
    return str(value)


def _refused(error: HTTPError) -> ProblemError:
    after = error.headers.get("Retry-After", "")
    retry_after = float(after) if after.isdecimal() and int(after) > 0 else None
    problem = None
    if error.headers.get_content_type() == "application/problem+json":
        try:
            problem = json.load(error)
        except (ValueError, OSError, HTTPException):
            pass  # the status is all that is left of an answer that was cut
    return ProblemError(error.code, problem, retry_after)


def _transient(error: Exception) -> bool:
    """Whether the same request may succeed later: the gateway says so, or it cannot be reached."""
    if isinstance(error, ProblemError):
        return bool(error.problem["retryable"]) if error.problem else error.status >= 500
    return isinstance(error, (OSError, HTTPException))


def _backoff(failures: int, error: Exception) -> float:
    """How long to wait after so many failures in a row: longer each time, and not as long as all the others."""
    wait = min(2.0 ** min(failures, 9), _MAX_BACKOFF) * random.uniform(0.5, 1)
    return max(wait, getattr(error, "retry_after", None) or 0.0)


def _lines(response: HTTPResponse) -> Iterator[bytes]:
    """The whole lines of an answer, as they come. What a lost connection cuts short is left out."""
    for line in response:
        if line.endswith(b"\n"):
            yield line.rstrip(b"\r\n")


class Listing:
    """A list of VMs, which is read once. If something is missing, a MissingError comes last."""

    def __init__(
        self, read: Callable[[Listing, JSON], Generator[JSON, None, MissingError | None]], query: JSON
    ) -> None:
        self.cursor: str | None = None  # once all have come: from where follow goes on without a gap
        self._vms = self._read(read, query)

    def _read(
        self, read: Callable[[Listing, JSON], Generator[JSON, None, MissingError | None]], query: JSON
    ) -> Iterator[JSON]:
        missing = yield from read(self, query)
        if missing:
            raise missing

    def __iter__(self) -> Iterator[JSON]:
        return self._vms


class Events:
    """What happens, as it happens: an iterator of events, each a dict with a type. It is for one thread.

    When the connection is lost, the events go on behind the last one, as often as it takes. One of the type
    ``resync`` says that the gateway can no longer tell all: read the VMs of its backend anew, and go on. They end
    with a ProblemError when the gateway lets nobody come back, as at the end of the session.
    """

    def __init__(self, connect: Callable[[Mapping[str, str]], HTTPResponse]) -> None:
        self.cursor: str | None = None  # behind the last event: another one goes on there with it
        self._connect = connect
        self._response: HTTPResponse | None = None
        self._closed = False
        self._open()

    def __iter__(self) -> Iterator[JSON]:
        return self

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the stream, and its events."""
        self._closed = True
        self._disconnect()

    def _disconnect(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def __next__(self) -> JSON:
        failures = 0
        while not self._closed:
            try:
                if self._response is None:
                    self._open()
                event, self._first = self._first, None
                if event is None:
                    event = self._block()
                    failures = 0
                if event is not None:
                    return event
            except (ProblemError, OSError, HTTPException) as error:
                self._disconnect()
                if not _transient(error):
                    raise
                time.sleep(_backoff(failures, error))
                failures += 1
        raise StopIteration

    def _open(self) -> None:
        """Connects, behind the last event if there was one, and reads up to where the stream stands."""
        self._response = self._connect({} if self.cursor is None else {"Last-Event-ID": self.cursor})
        try:
            kind = self._response.headers.get_content_type()
            if kind != "text/event-stream":
                raise ValueError(f"the answer is no stream of events, but {kind}")
            self._lines = _lines(self._response)
            self._first = self._block()
        except BaseException:
            self._disconnect()
            raise

    def _block(self) -> JSON | None:
        """The next event, or None for a heartbeat. What a lost connection cuts short counts for nothing."""
        cursor: str | None = None
        data: list[bytes] = []
        for line in self._lines:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"id":
                cursor = value.decode()
            elif field == b"data":
                data.append(value)
            elif not line:
                if cursor is not None:  # also of a heartbeat, which has come past what was not asked for
                    self.cursor = cursor
                return json.loads(b"\n".join(data)) if data else None
        raise ConnectionError("the stream of events was lost")
