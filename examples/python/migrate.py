"""Moves one running VM to another host, and watches it happen. Python's own library is enough.

    GATEWAY_PASSWORD=opennebula python3 migrate.py http://127.0.0.1:8080 one oneadmin
"""

import json
import os
import sys
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen


# region call
class Refused(Exception):
    """A problem document, as every error of the gateway is one. Act on its code."""

    def __init__(self, problem):
        super().__init__(f"{problem['code']}: {problem.get('detail', problem['title'])}")
        self.problem = problem
        self.code = problem["code"]


class Gateway:
    """One session at a gateway."""

    def __init__(self, url, backend, username, password):
        self.url = url
        self.headers = {}
        credentials = {"backend": backend, "username": username, "password": password}
        self.headers["Authorization"] = "Bearer " + self.call("POST", "/sessions", credentials)["token"]

    def call(self, method, path, body=None, **headers):
        """Calls the gateway, and gives the JSON of its answer."""
        with self.open(method, path, body, **headers) as reply:
            return json.loads(reply.read() or "null")

    def open(self, method, path, body=None, **headers):
        request = Request(self.url + path, method=method, headers={**self.headers, **headers})
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            return urlopen(request, timeout=90)
        except HTTPError as error:
            raise Refused(json.load(error)) from None

    # endregion

    # region list
    def vms(self, **query):
        """Every VM that fits the query, page by page."""
        while True:
            page = self.call("GET", "/vms?" + urlencode(query))
            for missing in page["unreachable"]:  # the others are all there
                print(missing["backend"], "is not in the list:", missing["problem"]["title"], file=sys.stderr)
            yield from page["vms"]
            if "nextPageToken" not in page:
                return
            query["pageToken"] = page["nextPageToken"]

    # endregion

    # region follow
    def events(self, **query):
        """What happens, from the moment of the call on. Each is a dict with a type."""
        stream = self.open("GET", "/events?" + urlencode(query))

        def read():
            with stream:
                for line in stream:
                    if line.startswith(b"data: "):  # else its id and type, a comment, or its end
                        yield json.loads(line[6:])

        return read()

    # endregion


# region migrate
def migrate(gateway, vm, host):
    """Moves a VM, live, and waits for the end."""
    operation = gateway.call("POST", f"/vms/{vm}:migrate", {"host": host}, Prefer="wait=60")
    if operation["state"] != "SUCCEEDED":  # that it failed is its own news, not an error of the call
        raise SystemExit(f"{operation['state']}: {operation.get('error', {}).get('title', 'it goes on')}")
    return operation


# endregion


def main(url, backend, user):
    gateway = Gateway(url, backend, user, os.environ["GATEWAY_PASSWORD"])
    try:
        vms = list(gateway.vms(filter='state="RUNNING"', fields="displayName,host"))
        for vm in vms:
            print("running:", vm["id"], vm["displayName"], "on", vm["host"]["displayName"])
        if not vms:
            raise SystemExit("no VM is running")
        vm = vms[0]
        hosts = gateway.call("GET", f"/hosts?backend={backend}")["hosts"]
        host = next((h for h in hosts if h["id"] != vm["host"]["id"] and h["state"] == "ENABLED"), None)
        if host is None:
            raise SystemExit("there is no other host")

        events = gateway.events(vm=vm["id"])  # before anything is asked for, so that nothing is missed
        done = migrate(gateway, vm["id"], host["id"])
        print("migrated:", vm["id"], "to", host["displayName"])
        for event in events:
            if event["type"] == "vm.changed":
                print("event:", event["type"], event["vm"]["id"], *event["changed"])
            if event["type"] == "operation.changed":
                operation = event["operation"]
                print("event:", event["type"], operation["verb"], operation["state"])
                if operation["id"] == done["id"] and operation["state"] == "SUCCEEDED":
                    return
        raise SystemExit("the stream has ended early")
    finally:
        gateway.call("DELETE", "/sessions/current")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit("usage: GATEWAY_PASSWORD=… migrate.py URL BACKEND USER")
    try:
        main(*sys.argv[1:])
    except Refused as error:
        raise SystemExit(f"migrate: {error}") from None
