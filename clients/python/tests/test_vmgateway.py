"""Runs against the demo that tools/clients/check.sh has started, which DEMO_INFO names, and a gateway by hand."""

import json
import os
import socket
import threading
import unittest
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from vmgateway import Gateway, MissingError, OperationError, ProblemError

with open(os.environ["DEMO_INFO"], encoding="utf-8") as file:
    DEMO = json.load(file)


def log_in(backend, url=DEMO["url"]):
    user = next(b for b in DEMO["backends"] if b["id"] == backend)["users"][0]
    return Gateway.log_in(url, backend, user["username"], user["password"])


class Relay:
    """Stands between client and gateway, and can cut all connections."""

    def __init__(self, url):
        self.to = urlsplit(url)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.sockets = []
        self.threads = []
        self.run(self.accept)

    def run(self, *call):
        thread = threading.Thread(target=call[0], args=call[1:])
        self.threads.append(thread)
        thread.start()

    def accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            far = socket.create_connection((self.to.hostname, self.to.port))
            self.sockets += [near, far]
            self.run(self.copy, near, far)
            self.run(self.copy, far, near)

    @staticmethod
    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut(self):
        for end in self.sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.cut()
        for thread in self.threads:
            thread.join()
        for end in self.sockets:
            end.close()


class WithTheDemo(unittest.TestCase):
    def test_pages_and_streams_have_the_same_vms(self):
        for backend in DEMO["backends"]:
            with self.subTest(backend["id"]), log_in(backend["id"]) as gateway:
                pages, stream = gateway.vms(pageSize=3), gateway.vms(stream=True)
                ids = sorted(vm["id"] for vm in pages)
                self.assertGreater(len(ids), 3)
                self.assertEqual(ids, sorted(vm["id"] for vm in stream))
                self.assertTrue(pages.cursor)
                self.assertTrue(stream.cursor)

    def test_a_vm_is_moved(self):
        for backend in DEMO["backends"]:
            with self.subTest(backend["id"]), log_in(backend["id"]) as gateway:
                vm = next(iter(gateway.vms(filter='state="RUNNING"', fields="host")))
                hosts = gateway.call("GET", "/hosts")["hosts"]
                host = next(h["id"] for h in hosts if h["id"] != vm["host"]["id"] and h["state"] == "ENABLED")
                body = {"host": host}
                plan = gateway.call("POST", "/vms/{vm}:migrate", body, query={"validateOnly": True}, vm=vm["id"])
                self.assertTrue(plan["allowed"] and plan["calls"])
                ended = gateway.wait(gateway.call("POST", "/vms/{vm}:migrate", body, vm=vm["id"]), timeout=60)
                self.assertEqual(ended["state"], "SUCCEEDED")
                self.assertEqual(gateway.call("GET", "/vms/{vm}", vm=vm["id"])["host"]["id"], host)

    def test_what_is_refused_is_raised_with_its_code(self):
        with log_in("one") as gateway:
            calls = {
                "NOT_FOUND": lambda: gateway.call("GET", "/vms/{vm}", vm="one.4000000000"),
                "INVALID_ARGUMENT": lambda: list(gateway.vms(filter="state=")),
                "UNAUTHENTICATED": lambda: Gateway.log_in(DEMO["url"], "one", "oneadmin", "no"),
            }
            for code, call in calls.items():
                with self.subTest(code), self.assertRaises(ProblemError) as raised:
                    call()
                self.assertEqual(raised.exception.code, code)
                self.assertTrue(str(raised.exception).startswith(f"{code}: "))
            with self.assertRaises(ProblemError) as raised:  # an id is no part of a path
                gateway.call("GET", "/vms/{vm}", vm="../backends")
            self.assertEqual(raised.exception.code, "NOT_FOUND")
            with self.assertRaises(TypeError):
                gateway.call("GET", "/vms", vm="one.1")

    def test_events_outlive_the_connection(self):
        relay = Relay(DEMO["url"])
        self.addCleanup(relay.close)
        with log_in("xen") as direct:
            vm = min(vm["id"] for vm in direct.vms())

            def rename(number):
                direct.call("PATCH", "/vms/{vm}", {"displayName": f"named {number}"}, vm=vm)

            through = log_in("xen", relay.url)
            seen = 0
            with through.follow(vm=[vm], type=["vm.changed"]) as events:
                rename(0)
                for event in events:
                    self.assertEqual(event["type"], "vm.changed")
                    if "displayName" not in event["changed"]:
                        continue
                    self.assertEqual(event["vm"]["displayName"], f"named {seen}")
                    seen += 1
                    if seen == 5:
                        break
                    relay.cut()
                    rename(seen)
            rename(seen)
            with direct.follow(cursor=events.cursor) as events:
                self.assertEqual(next(events)["vm"]["displayName"], f"named {seen}")
            through.log_out()


@contextmanager
def scripted(test, *answers):
    """Answers one request after the other by hand: (status, type, body, headers). Gives the requests too."""
    left = list(answers)
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, self.headers, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            status, kind, body, headers = (*left.pop(0), {})[:4]
            self.send_response(status)
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Gateway(f"http://127.0.0.1:{server.server_port}/", token="a-token"), requests
        finally:
            server.shutdown()
            thread.join()
    test.assertEqual(left, [])


def problem(status, code, retryable, after=None):
    body = {"type": "about:blank", "title": "No", "status": status, "code": code, "retryable": retryable, "requestId": "1"}
    return status, "application/problem+json", json.dumps(body), {"Retry-After": after} if after else {}


class ByHand(unittest.TestCase):
    def test_a_call_waits_when_it_is_told_to(self):
        answers = (
            problem(429, "RATE_LIMITED", True, "1"),
            (202, "application/json", '{"id": "one.x"}'),
            problem(429, "RATE_LIMITED", True, "3600"),
        )
        with scripted(self, *answers) as (gateway, requests):
            self.assertEqual(gateway.call("POST", "/vms/one.1:migrate", {"host": "one.2"}), {"id": "one.x"})
            self.assertEqual(json.loads(requests[1][2]), {"host": "one.2"})
            self.assertEqual(requests[1][1]["Authorization"], "Bearer a-token")
            with self.assertRaises(ProblemError) as raised:
                gateway.call("GET", "/backends")
            self.assertEqual(raised.exception.retry_after, 3600)

    def test_waiting_outlasts_what_passes(self):
        failed = {"id": "one.x", "verb": "migrate", "vm": "one.1", "state": "FAILED"}
        failed["error"] = json.loads(problem(502, "BACKEND_FAULT", False)[2])
        answers = (
            problem(503, "BACKEND_UNAVAILABLE", True, "1"),
            (502, "text/html", "<h1>Bad Gateway</h1>"),
            (200, "application/json", json.dumps(failed)),
            problem(404, "NOT_FOUND", False),
        )
        begun = {"id": "one.x", "state": "RUNNING"}
        with scripted(self, *answers) as (gateway, _):
            with self.assertRaises(OperationError) as raised:
                gateway.wait(begun)
            self.assertEqual(str(raised.exception), "migrate of one.1: FAILED: BACKEND_FAULT: No")
            self.assertEqual(raised.exception.code, "BACKEND_FAULT")
            self.assertIsInstance(raised.exception.__cause__, ProblemError)
            with self.assertRaises(ProblemError):
                gateway.wait(begun)
            with self.assertRaises(TimeoutError):
                gateway.wait(begun, timeout=0)

    def test_events_go_on_behind_the_last_whole_block(self):
        def event(number, kind):
            return f'id: {number}\nevent: {kind}\ndata: {{"type":"{kind}",\ndata: "backend":"é"}}\n\n'

        stream = "text/event-stream; charset=utf-8"
        answers = (
            (200, stream, ": following\nid: 1\n\n" + event(2, "backend.down") + 'id: 3\ndata: {"type"'),
            problem(503, "BACKEND_UNAVAILABLE", True, "1"),
            (200, stream, (event(3, "resync") + ": alive\nid: 4\n\n").replace("\n", "\r\n")),
            (200, stream, event(5, "news") + "id: 6\ndata: [\n\n"),
        )
        with scripted(self, *answers) as (gateway, requests):
            with gateway.follow(vm=["one.1", "one.2"], cursor="c") as events:
                self.assertEqual(events.cursor, "1")
                for want in (("backend.down", "2"), ("resync", "3"), ("news", "5")):
                    got = next(events)
                    self.assertEqual((got["type"], got["backend"], events.cursor), (want[0], "é", want[1]))
                with self.assertRaises(ValueError):
                    next(events)
            self.assertEqual(list(events), [])
            self.assertEqual([headers["Last-Event-ID"] for _, headers, _ in requests], [None, "2", "2", "4"])
            self.assertEqual({path for path, _, _ in requests}, {"/events?vm=one.1%2Cone.2&cursor=c"})

    def test_answers_that_are_none_or_not_whole_are_errors(self):
        line = '{"id": "one.1"}\n'
        missing = [{"backend": "xen", "problem": {"code": "BACKEND_UNAVAILABLE", "title": "No"}}]
        summary = {"summary": {"unreachable": missing, "undecodable": [], "undecodableTotal": 0}}
        answers = (
            (200, "text/html", "<h1>Log in</h1>"),
            (200, "text/html", "<h1>Log in</h1>"),
            (200, "application/x-ndjson", line + '{"id'),
            (200, "application/x-ndjson", line + json.dumps(summary) + "\n"),
        )
        with scripted(self, *answers) as (gateway, _):
            with self.assertRaises(ValueError):
                gateway.call("GET", "/backends")
            with self.assertRaises(ValueError):
                gateway.follow()
            for error in (ConnectionError, MissingError):
                vms = []
                with self.assertRaises(error) as raised:
                    for vm in gateway.vms(stream=True):
                        vms.append(vm["id"])
                self.assertEqual(vms, ["one.1"])
            self.assertEqual(raised.exception.unreachable, missing)

    def test_secrets_stay_where_they_are(self):
        gateway = Gateway("http://127.0.0.1:1", token="tell-nobody")
        self.assertNotIn("tell-nobody", f"{gateway} {gateway!r} {vars(gateway)}")
        elsewhere = (302, "text/plain", "", {"Location": "/elsewhere"})
        with scripted(self, elsewhere, (200, "application/json", "{}")) as (gateway, requests):
            gateway.call("GET", "/backends")
            self.assertIsNone(requests[1][1]["Authorization"])
        for wrong in ("", "127.0.0.1:80", "ftp://host", "http://user:tell-nobody@host", "http://host?a=b"):
            with self.subTest(wrong), self.assertRaises(ValueError) as raised:
                Gateway(wrong)
            self.assertNotIn("tell-nobody", str(raised.exception))


if __name__ == "__main__":
    unittest.main()
