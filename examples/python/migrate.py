"""Moves one running VM to another host, and watches it happen. Python's own library is enough.

    export PYTHONPATH=clients/python    # or: pip install clients/python
    GATEWAY_PASSWORD=opennebula python3 examples/python/migrate.py http://127.0.0.1:8080 one oneadmin
"""

import os
import sys

from vmgateway import Gateway, MissingError, OperationError, ProblemError


def main(url, backend, user):
    # region login
    with Gateway.log_in(url, backend, user, os.environ["GATEWAY_PASSWORD"]) as gateway:
        # endregion

        # region list
        running = []
        try:
            for vm in gateway.vms(filter='state="RUNNING"', fields="displayName,host"):
                print("running:", vm["id"], vm["displayName"], "on", vm["host"]["displayName"])
                running.append(vm)
        except MissingError as missing:
            print(missing, file=sys.stderr)  # the others are all there
        # endregion
        if not running:
            raise SystemExit("no VM is running")
        vm = running[0]
        hosts = gateway.call("GET", "/hosts", query={"backend": [backend]})["hosts"]
        host = next((h for h in hosts if h["id"] != vm["host"]["id"] and h["state"] == "ENABLED"), None)
        if host is None:
            raise SystemExit("there is no other host")

        # region follow
        # Listen before anything is asked for, so that nothing is missed.
        with gateway.follow(vm=[vm["id"]]) as events:
            # endregion

            # region migrate
            operation = gateway.call("POST", "/vms/{vm}:migrate", {"host": host["id"]}, vm=vm["id"])
            operation = gateway.wait(operation)  # an OperationError if it FAILED
            print("migrated:", vm["id"], "to", host["displayName"])
            # endregion

            # region events
            for event in events:
                if event["type"] == "resync":
                    print("event: read the VMs of", event["backend"], "anew")
                elif event["type"] == "vm.changed":
                    print("event:", event["type"], event["vm"]["id"], *event["changed"])
                elif event["type"] == "operation.changed":
                    told = event["operation"]
                    print("event:", event["type"], told["verb"], told["state"])
                    if told["id"] == operation["id"] and told["state"] == "SUCCEEDED":
                        break
            # endregion


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit("usage: GATEWAY_PASSWORD=… migrate.py URL BACKEND USER")
    try:
        main(*sys.argv[1:])
    except (ProblemError, OperationError) as error:
        raise SystemExit(f"migrate: {error}") from None
