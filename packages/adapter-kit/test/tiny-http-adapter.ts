/** An adapter with a network, and its server: what the suite's own tests of faults run against. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Agent, createServer, get, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import {
  type Adapter,
  type Entry,
  type FileEntry,
  SourceError,
  type SourceErrorCode,
} from "@pannier/core";
import type { Harness, StoreFile, StoreFiles } from "@pannier/adapter-kit";

const PASSWORD = "s3cret/of:the store";

export const tinyHttpAdapter: Adapter = {
  name: "tiny",
  package: "pannier-adapter-tiny",
  schemes: ["tiny"],
  options: {},
  description: "a server of the tests' own",

  async open({ host, port, pathname, password }, _options, context) {
    const agent = new Agent({ keepAlive: true });

    /** A response with status 200, or the error that stands for what happened instead. */
    async function request(path: string, signal: AbortSignal): Promise<IncomingMessage> {
      signal.throwIfAborted();
      context.request("get");
      const sent = get({ host, port, path, agent, signal, auth: `user:${password}` });
      sent.setTimeout(context.idleTimeout, () => sent.destroy(new Error("silence")));
      const [response] = (await once(sent, "response").catch((error: Error) => {
        signal.throwIfAborted();
        throw new SourceError("unavailable", `no answer: ${error.message}`);
      })) as [IncomingMessage];
      const { statusCode = 0, headers } = response;
      if (statusCode === 200) return response;
      response.resume();
      const codes: Record<number, SourceErrorCode> = {
        401: "auth",
        404: "not-found",
        409: "changed",
        429: "throttled",
      };
      const retryAfter = headers["retry-after"];
      throw new SourceError(codes[statusCode] ?? "unavailable", `status ${statusCode}`, {
        retryAfter: retryAfter === undefined ? undefined : Number(retryAfter) * 1000,
      });
    }

    return {
      async probe(signal) {
        const response = await request(`/probe${pathname}`, signal);
        return { token: `${await json(response)}` };
      },
      async list(signal) {
        const response = await request(`/list${pathname}`, signal);
        const entries = await json(response).catch((error) => {
          signal.throwIfAborted();
          throw new SourceError("unavailable", "the listing broke off", { cause: error });
        });
        return { ordered: false, entries: [entries as Entry[]] };
      },
      async read(entry, range, signal) {
        const { offset = 0, length } = range ?? {};
        const query = `?v=${entry.fingerprint}&offset=${offset}${length === undefined ? "" : `&length=${length}`}`;
        const path = `/read${pathname}/${encodeURIComponent(entry.path)}${query}`;
        return body(await request(path, signal), entry, range === undefined, signal);
      },
      async close() {
        agent.destroy();
      },
    };
  },
};

async function* body(
  response: IncomingMessage,
  entry: FileEntry,
  whole: boolean,
  signal: AbortSignal,
) {
  const hash = createHash("sha256");
  try {
    for await (const chunk of response) {
      hash.update(chunk);
      yield chunk as Uint8Array;
      signal.throwIfAborted();
    }
  } catch (error) {
    signal.throwIfAborted();
    throw new SourceError("unavailable", "the connection broke", { cause: error });
  }
  if (whole && hash.digest("hex") !== entry.fingerprint) {
    throw new SourceError("invalid", "the content has another digest");
  }
}

/** Stores on one server, started with the first. */
export function tinyHttpHarness(adapter: Adapter): Harness {
  const stores = new Map<string, ReadonlyMap<string, StoreFile>>();
  let started: Promise<Server> | undefined;

  async function start(): Promise<Server> {
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? "", "http://server");
      const [, what = "", name = "", path = ""] = url.pathname.split("/");
      const files = stores.get(name);
      const expected = `Basic ${Buffer.from(`user:${PASSWORD}`).toString("base64")}`;
      if (request.headers.authorization !== expected) response.writeHead(401).end();
      else if (files === undefined) response.writeHead(404).end();
      else if (what === "read") {
        const file = files.get(decodeURIComponent(path));
        if (file?.kind !== "file") response.writeHead(404).end();
        else if (digest(file.content) !== url.searchParams.get("v")) response.writeHead(409).end();
        else {
          const offset = Number(url.searchParams.get("offset"));
          const length = url.searchParams.get("length");
          response.end(
            file.content.subarray(offset, length === null ? undefined : offset + Number(length)),
          );
        }
      } else {
        const entries = [...files].map(([entryPath, file]) =>
          file.kind === "symlink"
            ? { path: entryPath, ...file }
            : {
                path: entryPath,
                kind: "file",
                size: file.content.length,
                fingerprint: digest(file.content),
              },
        );
        response.end(
          JSON.stringify(what === "list" ? entries : digest(Buffer.from(JSON.stringify(entries)))),
        );
      }
    });
    server.listen(0, "127.0.0.1").unref();
    await once(server, "listening");
    return server;
  }

  return {
    adapter,
    traits: { modes: "none", mtimes: false, directories: false, integrity: true, network: "http" },
    failures: {
      auth: (store) => ({ url: store.source({}).url.replace(/user:.*@/, "user:wrong%20secret@") }),
      "not-found": (store) => ({ url: `${store.source({}).url}-missing` }),
    },
    async create(files) {
      const server = await (started ??= start());
      const { port } = server.address() as AddressInfo;
      const name = `store-${stores.size}`;
      const change = async (changes: StoreFiles) => {
        const next = new Map(stores.get(name));
        for (const [path, file] of changes) {
          if (file === undefined) next.delete(path);
          else next.set(path, file);
        }
        stores.set(name, next);
      };
      await change(files);
      return {
        source: (route) => ({
          url: `tiny://user:${encodeURIComponent(PASSWORD)}@127.0.0.1:${route.port ?? port}/${name}`,
        }),
        change,
        server: { host: "127.0.0.1", port },
        async close() {},
      };
    },
  };
}

function digest(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
