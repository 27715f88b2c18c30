/** A server of shelves for the test: any number of them, each with files in memory. In its place, start the real one if you can. */
import { createHash } from "node:crypto";
import { createServer } from "node:http";

const shelves = new Map();
let count = 0;

const server = createServer((request, answer) => {
  const [, name, what, path] = request.url.split("/").map(decodeURIComponent);
  const shelf = shelves.get(name);
  const end = (status, body = "") => answer.writeHead(status).end(body);
  if (shelf === undefined) return end(404);
  if (what === "version") return end(200, String(shelf.version));
  if (what === "files")
    return end(
      200,
      JSON.stringify(
        [...shelf.files].map(([at, { content, sha256 }]) => ({
          path: at,
          size: content.length,
          sha256,
        })),
      ),
    );
  const file = shelf.files.get(path);
  if (file === undefined) return end(404);
  if (request.headers["if-match"] !== `"${file.sha256}"`) return end(412);
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  if (range === null) return end(200, file.content);
  const from = Number(range[1]);
  const to = Math.min(range[2] === "" ? Infinity : Number(range[2]), file.content.length - 1);
  answer.writeHead(206, { "content-range": `bytes ${from}-${to}/${file.content.length}` });
  return answer.end(file.content.subarray(from, to + 1));
}).listen(0, "127.0.0.1");
await new Promise((done) => server.once("listening", done));
server.unref();
const { port } = server.address();

/** Makes a shelf with these files: what the suite calls a store. */
export async function createShelf(files) {
  const name = `shelf-${++count}`;
  const shelf = { version: 0, files: new Map() };
  shelves.set(name, shelf);
  const change = async (changes) => {
    shelf.version++;
    for (const [path, file] of changes) {
      const { content } = file ?? {};
      if (content === undefined) shelf.files.delete(path);
      else
        shelf.files.set(path, {
          content,
          sha256: createHash("sha256").update(content).digest("hex"),
        });
    }
  };
  await change(files);
  return {
    server: { host: "127.0.0.1", port },
    source: (route) => ({ url: `shelf://127.0.0.1:${route.port ?? port}/${name}?secure=false` }),
    change,
    close: async () => void shelves.delete(name),
  };
}
