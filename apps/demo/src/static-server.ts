/** A small web server for the published tree. Made for looking at a demonstration on this machine, not for the world. */
import { createReadStream } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { basename, extname, join, sep } from "node:path";

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".gif": "image/gif",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".jpg": "image/jpeg",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".md": "text/plain; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".pdf": "application/pdf",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
  ".woff2": "font/woff2",
};

/** Asks for the revision and shows it; loads the page again when it is another. */
const LIVE_SCRIPT = `let shown;
setInterval(async () => {
  const answer = await fetch("/-/revision").catch(() => undefined);
  if (answer?.ok !== true) return;
  const revision = await answer.text();
  if (shown !== undefined && shown !== revision) return location.reload();
  shown = revision;
  for (const place of document.querySelectorAll("[data-revision]")) place.textContent = revision;
}, 300);
`;

/**
 * @param current the link to the published tree. It is followed again for each request, once: an answer never mixes two trees.
 */
export function makeServer(current: string): Server {
  return createServer((request, response) => {
    answer(current, request, response).catch((error: unknown) => {
      if (!response.headersSent) send(response, statusOf(error), "text/plain", "not found\n");
      else response.destroy();
    });
  });
}

/** Listens on 127.0.0.1 at `port`, or at the next one that is free. @returns the port */
export async function listen(server: Server, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, "127.0.0.1", resolve);
  try {
    await promise;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || port >= 65_535) throw error;
    return listen(server, port + 1);
  } finally {
    server.off("error", reject);
  }
  return (server.address() as { port: number }).port;
}

async function answer(
  current: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== "GET" && request.method !== "HEAD")
    return send(response, 405, "text/plain", "only GET and HEAD\n");
  const path = decodePath(request.url ?? "/");
  if (path === undefined) return send(response, 400, "text/plain", "not a path\n");
  if (path === "/-/live.js") return send(response, 200, TYPES[".js"] as string, LIVE_SCRIPT);
  const root = await realpath(current).catch(() => undefined);
  if (root === undefined) return send(response, 503, "text/plain", "nothing is published yet\n");
  if (path === "/-/revision") return send(response, 200, "text/plain", basename(root));
  // Links are resolved before the check: one that leads out of the tree is as good as "..".
  const file = await realpath(join(root, path));
  if (file !== root && !file.startsWith(root + sep))
    return send(response, 404, "text/plain", "not found\n");
  const found = await stat(file);
  if (!found.isDirectory()) return sendFile(request, response, file, found.size);
  if (!path.endsWith("/"))
    return redirect(
      response,
      `${path.split("/").map(encodeURIComponent).join("/").replace(/^\/+/, "/")}/`,
    );
  const index = await realpath(join(file, "index.html")).catch(() => undefined);
  if (index?.startsWith(root + sep) === true)
    return sendFile(request, response, index, (await stat(index)).size);
  send(response, 200, TYPES[".html"] as string, await listing(file, path));
}

/** The path of a request, or `undefined` where it is none that a tree could hold. */
function decodePath(url: string): string | undefined {
  let path: string;
  try {
    path = decodeURIComponent(url.split(/[?#]/, 1)[0] ?? "/");
  } catch {
    return undefined;
  }
  const segments = path.split("/");
  if (!path.startsWith("/") || path.includes("\0") || segments.includes("..")) return undefined;
  return path;
}

function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  file: string,
  size: number,
): void {
  response.writeHead(
    200,
    headers(TYPES[extname(file).toLowerCase()] ?? "application/octet-stream", size),
  );
  if (request.method === "HEAD") return void response.end();
  const stream = createReadStream(file);
  stream.on("error", () => response.destroy());
  response.on("close", () => stream.destroy());
  stream.pipe(response);
}

function send(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, headers(type, Buffer.byteLength(text)));
  response.end(response.req.method === "HEAD" ? undefined : text);
}

function redirect(response: ServerResponse, location: string): void {
  response.writeHead(302, { location, "content-length": 0 });
  response.end();
}

function headers(type: string, length: number) {
  return {
    "content-type": type,
    "content-length": length,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  };
}

async function listing(folder: string, path: string): Promise<string> {
  const entries = await readdir(folder, { withFileTypes: true });
  const items = entries
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .toSorted()
    .map(
      (name) =>
        `<li><a href="./${escape(encodeURIComponent(name).replace("%2F", "/"))}">${escape(name)}</a></li>`,
    );
  return `<!doctype html><meta charset="utf-8"><title>${escape(path)}</title><h1>${escape(path)}</h1><ul>${items.join("")}</ul><footer>revision <code data-revision></code></footer><script src="/-/live.js"></script>\n`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function statusOf(error: unknown): number {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR" || code === "ENAMETOOLONG" || code === "ELOOP"
    ? 404
    : 500;
}
