"""Sends numbered log records with the OpenTelemetry SDK for Python, in batches.

    python otlp.py --port PORT [options]

    --host HOST      [127.0.0.1]
    --port PORT
    --count N        how many records, numbered from 0 [1000]
    --batch N        records in a request [100]
    --rate N         records a second [as fast as it goes]
    --client NAME    the resource's `service.name` [otlp-py]
    --mode MODE      http: protobuf over HTTP, uncompressed; http-gzip: the same with gzip;
                     grpc: gRPC, uncompressed; grpc-gzip: the same with gzip [http-gzip]
    --body BODY      text: the body is "event NUMBER", the number is the attribute `n`;
                     map: the body is {"n": NUMBER, "text": "event NUMBER"} [text]
    --ca FILE        speaks TLS, and trusts the certificates in this file alone
    --bearer TOKEN   sends `Authorization: Bearer TOKEN`
    --limit SECONDS  how long a request is tried [10]

Exit codes: 0 every request was answered with success, 1 one was not
"""

import argparse
import sys
import time

import grpc
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as OverGrpc
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as OverHttp
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.resources import Resource


class Counting(LogRecordExporter):
    """An exporter that counts the records of requests that failed: the processor keeps that to itself."""

    def __init__(self, exporter):
        self.exporter = exporter
        self.sent = 0
        self.failed = 0

    def export(self, batch):
        result = self.exporter.export(batch)
        if result == LogRecordExportResult.SUCCESS:
            self.sent += len(batch)
        else:
            self.failed += len(batch)
        return result

    def shutdown(self):
        self.exporter.shutdown()

    def force_flush(self, timeout_millis=30000):
        return self.exporter.force_flush(timeout_millis)


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--client", default="otlp-py")
    parser.add_argument("--mode", choices=["http", "http-gzip", "grpc", "grpc-gzip"], default="http-gzip")
    parser.add_argument("--body", choices=["text", "map"], default="text")
    parser.add_argument("--ca")
    parser.add_argument("--bearer")
    parser.add_argument("--limit", type=float, default=10)
    return parser.parse_args()


def exporter(given):
    address = f"{given.host}:{given.port}"
    zips = given.mode.endswith("-gzip")
    # gRPC takes no capital letters in names of headers.
    headers = {"authorization": f"Bearer {given.bearer}"} if given.bearer else {}
    if given.mode.startswith("http"):
        return OverHttp(
            endpoint=f"{'https' if given.ca else 'http'}://{address}/v1/logs",
            certificate_file=given.ca,
            headers=headers,
            timeout=given.limit,
            compression=Compression.Gzip if zips else Compression.NoCompression,
        )
    credentials = None
    if given.ca:
        with open(given.ca, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
    return OverGrpc(
        endpoint=address,
        insecure=not given.ca,
        credentials=credentials,
        headers=tuple(headers.items()),
        timeout=given.limit,
        compression=grpc.Compression.Gzip if zips else grpc.Compression.NoCompression,
    )


def record(n, body):
    now = time.time_ns()
    text = f"event {n}"
    return LogRecord(
        timestamp=now,
        observed_timestamp=now,
        severity_number=SeverityNumber.INFO,
        severity_text="INFO",
        body={"n": n, "text": text} if body == "map" else text,
        attributes=None if body == "map" else {"n": n},
    )


def main():
    given = arguments()
    counting = Counting(exporter(given))
    # It throws away what its queue has no room for.
    processor = BatchLogRecordProcessor(
        counting,
        schedule_delay_millis=50,
        max_export_batch_size=given.batch,
        max_queue_size=given.count + given.batch,
    )
    provider = LoggerProvider(resource=Resource.create({"service.name": given.client}))
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("numbered", "1.0")
    started = time.monotonic()
    for n in range(given.count):
        while given.rate and (time.monotonic() - started) * given.rate < n:
            time.sleep(0.01)
        logger.emit(record(n, given.body))
    provider.force_flush()
    provider.shutdown()
    if counting.sent != given.count:
        sys.exit(f"{counting.sent} of {given.count} records were sent, {counting.failed} failed")


main()
