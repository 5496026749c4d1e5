"""Sends numbered events with fluent-logger, Fluentd's own logger for Python.

It speaks Message mode without answers: a success here says that all was written to the connection, no more. (Under the
name fluent.py this file would be imported in the place of the logger.)

    python fluent_logger.py --port PORT [options]

    --host HOST      [127.0.0.1]
    --port PORT
    --count N        how many events, numbered from 0 [1000]
    --client NAME    stands in each record as `client`; the tag is `python.NAME` [fluent-py]
    --mode MODE      seconds: times are whole seconds; nanoseconds: times are EventTimes;
                     async: as nanoseconds, written by a thread of the logger's own [seconds]

A record is {"client": NAME, "n": NUMBER, "message": "event NUMBER"}.

Exit codes: 0 all was written, 1 something was not
"""

import argparse
import sys

from fluent import asyncsender, sender


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--client", default="fluent-py")
    parser.add_argument("--mode", choices=["seconds", "nanoseconds", "async"], default="seconds")
    return parser.parse_args()


def logger(given):
    options = {"host": given.host, "port": given.port, "nanosecond_precision": given.mode != "seconds"}
    if given.mode == "async":
        # It throws away what its queue has no room for.
        return asyncsender.FluentSender("python", queue_maxsize=given.count + 1, **options)
    return sender.FluentSender("python", **options)


def main():
    given = arguments()
    log = logger(given)
    failed = 0
    for n in range(given.count):
        record = {"client": given.client, "n": n, "message": f"event {n}"}
        failed += not log.emit(given.client, record)
    # What could not be written so far is tried once more here, and thrown away.
    lost = []
    log.buffer_overflow_handler = lost.append
    log.close()
    if failed or lost:
        sys.exit(f"{failed} events were not written at once, {len(lost)} buffers never: {log.last_error}")


main()
