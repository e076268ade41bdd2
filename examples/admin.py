#!/usr/bin/env python3
"""Reads a farm through its admin socket with the `varlink` package from PyPI.

    python3 -m venv venv && venv/bin/pip install varlink
    venv/bin/python examples/admin.py STATE_DIRECTORY

Prints one line per job with the reasons of those that wait, then the last events.
"""

import sys

import varlink


def pages(ask, rows):
    """All rows of a listing: each page names the next one."""
    after = None
    while True:
        page = ask(after)
        yield from page[rows]
        after = page.get("next")
        if after is None:
            return


def main(directory):
    with varlink.Client.new_with_address(f"unix:{directory}/admin.sock") as client:
        with client.open("io.massif.Host") as host:
            status = host.Status()["status"]
            print(f"{status['host']['name']}: massif {status['host']['version']}, "
                  f"{', '.join(status['host']['roles'])}")
            for alarm in status["alarms"]:
                print(f"alarm: {alarm['text']}; {alarm['next']}")

        with client.open("io.massif.Summit") as summit:
            def jobs(after):
                return summit.JobList(states=[], after=after, limit=500)

            for job in pages(jobs, "jobs"):
                waits = "; ".join(reason["text"] for reason in job["waits_for"])
                print(f"{job['recipe']} {job['version']}-{job['release']} {job['state']}"
                      + (f": {waits}" if waits else ""))

            try:
                summit.JobShow(job="no-such-recipe")
            except varlink.VarlinkError as error:
                facts = error.parameters()
                print(f"{error.error()}: {facts['what']}; {facts['next']}")

        with client.open("io.massif.Host") as host:
            # Without `more` one answer with what happened so far; `_more=True` would go on for ever.
            for event in host.Watch(since=0)["events"][-10:]:
                print(f"#{event['seq']} {event['at']} {event['actor']}: {event['text']}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
