/**
 * Stands in for the helper where there is no libnfs. The path in a question says what becomes of it: a crash, silence, or
 * an answer with the number of the process, by which tests tell helpers apart.
 */
import { Socket } from "node:net";

const channel = new Socket({ fd: 3 });
let received = Buffer.alloc(0);
let server = "";
/** Questions that are neither answered nor given up. */
const owed = new Set();

function send(message, body = Buffer.alloc(0)) {
  const json = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(8);
  head.writeUInt32LE(json.length, 0);
  head.writeUInt32LE(body.length, 4);
  channel.write(Buffer.concat([head, json, body]));
}

function answer({ start, cancel, id, question }) {
  if (start !== undefined) ({ server } = start);
  if (owed.delete(cancel)) send({ id: cancel, problem: { step: "call", errno: 5, text: "" } });
  if (question === undefined) return;
  if (question.path === "never") owed.add(id);
  if (question.path === "owed") send({ id }, Buffer.from(String(owed.size)));
  if (question.path === "server") send({ id }, Buffer.from(server));
  if (question.path === "break") send({ id, problem: { step: "connection", errno: 0, text: "" } });
  if (question.path === "crash") process.kill(process.pid, "SIGSEGV");
  if (question.path === "exit") process.exit(3);
  if (question.path === "no library") {
    send({ id, problem: { step: "library", errno: 0, text: "libnfs.so.13: cannot open" } });
  }
  if (question.path === "pid") send({ id }, Buffer.from(String(process.pid)));
  if (question.path === "environment") send({ id }, Buffer.from(Object.keys(process.env).join()));
}

channel.on("close", () => process.exit());
channel.on("data", (chunk) => {
  received = Buffer.concat([received, chunk]);
  while (received.length >= 8 && received.length >= 8 + received.readUInt32LE(0)) {
    const end = 8 + received.readUInt32LE(0);
    answer(JSON.parse(received.subarray(8, end).toString()));
    received = received.subarray(end);
  }
});
