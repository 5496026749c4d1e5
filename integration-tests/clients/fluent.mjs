// Sends numbered events with @fluent-org/logger, a logger of Fluent Forward for Node, and waits for an answer to each.
//
//     NODE_PATH=NODE_MODULES node fluent.mjs --port PORT [options]
//
//     --host HOST          [127.0.0.1]
//     --port PORT
//     --count N            how many events, numbered from 0 [1000]
//     --client NAME        stands in each record as `client`; the tag is `node.NAME` [fluent-js]
//     --mode MODE          Message, Forward, PackedForward or CompressedPackedForward [PackedForward]
//     --ca FILE            speaks TLS, and trusts the certificates in this file alone
//     --key KEY            the shared key
//     --user NAME          who to be; needs --key
//     --password PASSWORD
//     --limit SECONDS      how long an answer may take [10]
//
// A record is {"client": NAME, "n": NUMBER, "message": "event NUMBER"}.
//
// Exit codes: 0 every event was answered, 1 one was not

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

// Only `require` looks where NODE_PATH says.
const { FluentClient } = createRequire(import.meta.url)("@fluent-org/logger");

const { values: given } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string" },
    count: { type: "string", default: "1000" },
    client: { type: "string", default: "fluent-js" },
    mode: { type: "string", default: "PackedForward" },
    ca: { type: "string" },
    key: { type: "string" },
    user: { type: "string" },
    password: { type: "string" },
    limit: { type: "string", default: "10" },
  },
});

const logger = new FluentClient("node", {
  eventMode: given.mode,
  milliseconds: true,
  ack: { ackTimeout: Number(given.limit) * 1000 },
  // So that there is more than one message in the modes that gather.
  flushInterval: given.mode === "Message" ? 0 : 20,
  sendQueueIntervalFlushLimit: { length: 200 },
  socket: {
    host: given.host,
    port: Number(given.port),
    tls: given.ca && { ca: readFileSync(given.ca) },
  },
  security: given.key && {
    clientHostname: "numbered",
    sharedKey: given.key,
    username: given.user,
    password: given.password,
  },
  disconnect: { waitForPending: true },
});
logger.socketOn("error", (error) => {
  console.error(String(error));
  // The logger does not try again then.
  if (error.name === "AuthError") {
    process.exit(1);
  }
});

const answers = [];
for (let n = 0; n < Number(given.count); n++) {
  answers.push(logger.emit(given.client, { client: given.client, n, message: `event ${n}` }));
}
// Where the connection is refused for good, nobody answers any more.
const over = setTimeout(() => {
  console.error("no answers");
  process.exit(1);
}, (Number(given.limit) + 2) * 1000);
const failures = (await Promise.allSettled(answers)).filter(({ status }) => status === "rejected");
clearTimeout(over);
await logger.shutdown();
if (failures.length > 0) {
  console.error(`${failures.length} of ${given.count} events were not answered: ${failures[0].reason}`);
  process.exitCode = 1;
}
