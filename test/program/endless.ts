/** Servers whose listings have no end, in a process of their own. Says on which ports: `HTTP FTP`. */
import { createServer as createHttp } from "node:http";
import { createServer, type AddressInfo } from "node:net";

/** Each directory has many files, and one more directory. */
const names = Array.from({ length: 20_000 }, (_, index) => `f${index}`).concat("d/");
const rows = names.map((name) => `<a href="${name}">${name}</a> 01-Jan-2026 00:00 1`);
const page = `<html><head><title>Index of /</title></head><body><h1>Index of /</h1><pre><a href="../">../</a>\n${rows.join("\n")}\n</pre></body></html>`;
const http = createHttp((request, response) => {
  const isDirectory = request.url?.endsWith("/") === true;
  response.setHeader("content-type", isDirectory ? "text/html" : "text/plain");
  response.end(isDirectory ? page : "x");
}).listen(0, "127.0.0.1");

/** Some hundred KiB of lines. */
const block = (number: number) =>
  Array.from(
    { length: 5000 },
    (_, index) => `type=file;size=1;modify=20260101000000; f${number}-${index}\r\n`,
  ).join("");

/** A listing that goes on and on, as quickly as it is read. */
const ftp = createServer((socket) => {
  const data = createServer((out) => {
    let number = 0;
    const pump = () => {
      while (out.write(block(number++)));
    };
    out.on("drain", pump).on("error", () => {});
    pump();
  }).listen(0, "127.0.0.1");
  const say = (text: string) => void socket.write(`${text}\r\n`);
  socket.on("error", () => {}).on("close", () => data.close());
  say("220 hello");
  socket.setEncoding("utf8").on("data", (text: string) => {
    for (const line of text.split("\r\n").filter((one) => one !== "")) {
      const [command = ""] = line.toUpperCase().split(" ");
      const { port } = data.address() as AddressInfo;
      if (command === "USER") say("331 password");
      else if (command === "PASS") say("230 in");
      else if (command === "FEAT") say("211-has\r\n MLST type*;size*;modify*;\r\n UTF8\r\n211 end");
      else if (command === "PWD") say('257 "/"');
      else if (command === "EPSV") say(`229 here (|||${port}|)`);
      else if (command === "PASV") say(`227 here (127,0,0,1,${port >> 8},${port & 255})`);
      else if (command === "MLST") say("250-is\r\n type=dir; /\r\n250 end");
      else if (command === "MLSD" || command === "LIST") say("150 it comes");
      else if (command === "QUIT") say("221 bye");
      else say("200 fine");
    }
  });
}).listen(0, "127.0.0.1", () =>
  process.stdout.write(
    `${(http.address() as AddressInfo).port} ${(ftp.address() as AddressInfo).port}\n`,
  ),
);
