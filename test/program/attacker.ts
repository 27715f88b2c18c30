/** Whoever can reach the sidecar's port and means it no good, in a process of its own. Says `ready` once its sockets are open. */
import { connect, type Socket } from "node:net";

const [port = "", mode = "", number = ""] = process.argv.slice(2);
const count = Number(number);
/** Sockets that are closed come back this soon. */
const AGAIN = 10;

const body = Buffer.alloc(1 << 20, "x");
const post = (path: string, headers: string) =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${headers}\r\n\r\n`;
const signature = `x-hub-signature-256: sha256=${"0".repeat(64)}`;

/** What each socket sends once it is open, and how it goes on. */
const MODES: Readonly<Record<string, (socket: Socket) => void>> = {
  idle: () => {},
  headers: (socket) => void socket.write("GET /status HTTP/1.1\r\nhost: x\r\nx-slow: "),
  body: (socket) =>
    void socket.write(post("/hooks/github", `${signature}\r\ncontent-length: 900000`) + "{"),
  events: (socket) => void socket.write("GET /events HTTP/1.1\r\nhost: x\r\n\r\n"),
  slowloris(socket) {
    socket.write("GET /status HTTP/1.1\r\nhost: x\r\nx-slow: ");
    const drip = setInterval(() => socket.write("x"), 100);
    socket.on("close", () => clearInterval(drip));
  },
  // Asks, and does not take the answer.
  unread(socket) {
    socket.pause();
    socket.write("GET /history/site HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20));
  },
  webhooks(socket) {
    socket.write(post("/hooks/github", `${signature}\r\ncontent-length: ${body.length}`));
    socket.write(body);
    socket.on("data", () => socket.destroy());
  },
};

let opened = 0;
const announce = () => {
  if (++opened === count) process.stdout.write("ready\n");
};

function open(begin: (socket: Socket) => void): void {
  const socket = connect(Number(port), "127.0.0.1");
  socket.on("error", () => {});
  socket.once("connect", () => {
    announce();
    begin(socket);
  });
  if (mode !== "unread") socket.resume();
  socket.on("close", () => setTimeout(open, AGAIN, begin));
}

/** So many requests a second, whether they are answered or not. */
function ask(path: string): void {
  const socket = connect(Number(port), "127.0.0.1");
  socket.on("error", () => {}).resume();
  socket.end(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
}

const begin = MODES[mode];
if (begin !== undefined) for (let index = 0; index < count; index++) open(begin);
else {
  setInterval(ask, 1000 / count, mode);
  process.stdout.write("ready\n");
}
