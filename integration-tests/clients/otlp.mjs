// Sends numbered log records with the OpenTelemetry SDK for Node, in batches.
//
//     NODE_PATH=NODE_MODULES node otlp.mjs --port PORT [options]
//
//     --host HOST      [127.0.0.1]
//     --port PORT
//     --count N        how many records, numbered from 0 [1000]
//     --batch N        records in a request [100]
//     --rate N         records a second [as fast as it goes]
//     --client NAME    the resource's `service.name` [otlp-js]
//     --mode MODE      http: JSON over HTTP, uncompressed; http-gzip: the same with gzip;
//                      grpc: gRPC, uncompressed; grpc-gzip: the same with gzip [http]
//     --body BODY      text: the body is "event NUMBER", the number is the attribute `n`;
//                      map: the body is {"n": NUMBER, "text": "event NUMBER"} [text]
//     --ca FILE        speaks TLS, and trusts the certificates in this file alone
//     --bearer TOKEN   sends `Authorization: Bearer TOKEN`
//     --limit SECONDS  how long a request is tried [10]
//
// Exit codes: 0 every request was answered with success, 1 one was not

import { readFileSync } from "node:fs";
import { Agent } from "node:https";
import { createRequire } from "node:module";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";

// Only `require` looks where NODE_PATH says.
const require = createRequire(import.meta.url);
const { BatchLogRecordProcessor, LoggerProvider } = require("@opentelemetry/sdk-logs");
const { SeverityNumber } = require("@opentelemetry/api-logs");
const { resourceFromAttributes } = require("@opentelemetry/resources");

const { values: given } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string" },
    count: { type: "string", default: "1000" },
    batch: { type: "string", default: "100" },
    rate: { type: "string", default: "Infinity" },
    client: { type: "string", default: "otlp-js" },
    mode: { type: "string", default: "http" },
    body: { type: "string", default: "text" },
    ca: { type: "string" },
    bearer: { type: "string" },
    limit: { type: "string", default: "10" },
  },
});
const [count, batch, limit] = [given.count, given.batch, given.limit].map(Number);

/// Counts what was answered with success: the processor keeps that to itself.
class Counting {
  sent = 0;
  problems = [];

  constructor(exporter) {
    this.exporter = exporter;
  }

  export(records, done) {
    this.exporter.export(records, (result) => {
      if (result.code === 0) {
        this.sent += records.length;
      } else {
        this.problems.push(result.error);
      }
      done(result);
    });
  }

  forceFlush() {
    return this.exporter.forceFlush();
  }

  shutdown() {
    return this.exporter.shutdown();
  }
}

function exporter() {
  const [transport, zip] = given.mode.split("-");
  const scheme = given.ca ? "https" : "http";
  const common = { compression: zip ?? "none", timeoutMillis: limit * 1000 };
  if (transport === "http") {
    const { OTLPLogExporter } = require("@opentelemetry/exporter-logs-otlp-http");
    return new OTLPLogExporter({
      ...common,
      url: `${scheme}://${given.host}:${given.port}/v1/logs`,
      headers: given.bearer && { Authorization: `Bearer ${given.bearer}` },
      httpAgentOptions: given.ca && (() => new Agent({ keepAlive: true, ca: readFileSync(given.ca) })),
    });
  }
  const { OTLPLogExporter } = require("@opentelemetry/exporter-logs-otlp-grpc");
  const { credentials, Metadata } = require("@grpc/grpc-js");
  const metadata = new Metadata();
  if (given.bearer) {
    metadata.set("authorization", `Bearer ${given.bearer}`);
  }
  return new OTLPLogExporter({
    ...common,
    url: `${scheme}://${given.host}:${given.port}`,
    metadata,
    credentials: given.ca ? credentials.createSsl(readFileSync(given.ca)) : credentials.createInsecure(),
  });
}

const counting = new Counting(exporter());
// It throws away what its queue has no room for.
const processor = new BatchLogRecordProcessor({
  exporter: counting,
  maxExportBatchSize: batch,
  maxQueueSize: count + batch,
  scheduledDelayMillis: 50,
});
const provider = new LoggerProvider({
  resource: resourceFromAttributes({ "service.name": given.client }),
  processors: [processor],
});
const logger = provider.getLogger("numbered", "1.0");
const started = performance.now();
for (let n = 0; n < count; n++) {
  while (((performance.now() - started) / 1000) * Number(given.rate) < n) {
    await setTimeout(10);
  }
  const text = `event ${n}`;
  logger.emit({
    timestamp: new Date(),
    severityNumber: SeverityNumber.INFO,
    severityText: "INFO",
    body: given.body === "map" ? { n, text } : text,
    attributes: given.body === "map" ? {} : { n },
  });
}
await provider.forceFlush();
await provider.shutdown();
if (counting.sent !== count) {
  console.error(`${counting.sent} of ${count} records were sent: ${counting.problems.join("; ")}`);
  process.exitCode = 1;
}
