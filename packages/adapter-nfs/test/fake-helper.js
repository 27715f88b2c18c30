/**
 * Stands in for the helper where there is no libnfs. The path in a question says what becomes of it: a crash, silence, or
 * an answer with the number of the process, by which tests tell helpers apart.
 */
import { Socket } from "node:net";

const channel = new Socket({ fd: 3 });
let received = Buffer.alloc(0);

function send(message, body = Buffer.alloc(0)) {
  const json = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(8);
  head.writeUInt32LE(json.length, 0);
  head.writeUInt32LE(body.length, 4);
  channel.write(Buffer.concat([head, json, body]));
}

function answer({ id, question }) {
  if (question === undefined || question.path === "never") return;
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
