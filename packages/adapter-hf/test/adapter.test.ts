import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { type FileEntry, filterScope, makeFilter, parseLocation, sync } from "@pannier/core";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { type HubServer, startHub } from "./hub.ts";
import { parseAddress } from "../src/address.ts";
import { hf, hfAdapter } from "../src/index.ts";
import { findToken } from "../src/token.ts";

const TOKEN = "hf_aTokenThatNobodyMaySee";
const MODEL = "models/org/model";
const LARGE = "weights ".repeat(4000);
const { signal } = new AbortController();

let hub: HubServer;
let folder = "";
beforeEach(async () => {
  for (const name of ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_ENDPOINT", "XDG_CACHE_HOME"]) {
    vi.stubEnv(name, undefined);
  }
  folder = await mkdtemp(join(tmpdir(), "pannier-hf-"));
  vi.stubEnv("HOME", folder);
  hub = await startHub();
});
afterEach(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
  vi.unstubAllEnvs();
});

async function open(url: string, credentials = {}, endpoint = hub.endpoint) {
  const opened = await openSource(hf(url, { endpoint }), { credentials });
  onTestFinished(() => opened.close());
  return opened.source;
}

function parse(url: string) {
  return parseAddress(parseLocation(url));
}

async function readA() {
  const source = await open("hf://org/model");
  return readAll(source, (await listAll(source)).file("a"));
}

describe("an address", () => {
  test.each([
    ["hf://org/model", "models", "org/model", "main", ""],
    ["hf://Org/Model.v1@v1.0/", "models", "Org/Model.v1", "v1.0", ""],
    ["hf://datasets/org/name@refs%2Fpr%2F1/data", "datasets", "org/name", "refs/pr/1", "data"],
    ["hf://spaces/org/app/src/a%20b.py", "spaces", "org/app", "main", "src/a b.py"],
  ])("%s", (url, kind, repository, revision, path) => {
    expect(parse(url)).toEqual({ kind, repository, revision, path });
  });

  test.each([
    ["hf://org", "is not a valid repository name"],
    ["hf://datasets/org", "is not a valid repository name"],
    ["hf://org/model@", "is not a valid revision"],
    ["hf://org/model@..%2F..", "is not a valid revision"],
    ["hf://org/model/a//b", "an invalid segment"],
    ["hf://org/model/a%2f..%2f..%2fb", "an invalid segment"],
    ["hf://org../model", "is not a valid repository name"],
    ["hf://user:secret@org/model", "has no user or password"],
    ["hf://org:80/model", "has no port"],
    ["hf://buckets/org/name", "are not supported"],
  ])("%s is refused", (url, message) => {
    expect(() => parse(url)).toThrow(message);
  });

  test("of a Hub that is no URL", async () => {
    await expect(openSource(hf("hf://org/model", { endpoint: "nowhere" }))).rejects.toThrow(
      'option "endpoint" must be a URL',
    );
    vi.stubEnv("HF_ENDPOINT", "https://user:secret@host");
    await expect(openSource(hf("hf://org/model"))).rejects.toThrow("the variable HF_ENDPOINT");
  });
});

describe("what is listed", () => {
  test("a branch, at the commit that it stands for", async () => {
    const commit = hub.commit(
      MODEL,
      new Map([
        ["config.json", "{}"],
        ["a/weights", LARGE],
      ]),
    );
    const source = await open("hf://org/model");
    expect(await source.probe(signal)).toEqual({ token: commit, revision: commit });
    const listed = await listAll(source);
    expect(listed.paths.toSorted()).toEqual(["a/weights", "config.json"]);
    expect(listed.file("a/weights")).toMatchObject({
      size: LARGE.length,
      digest: { algorithm: "sha256" },
    });
  });

  test("a commit never changes, and is not asked for", async () => {
    const commit = hub.commit(MODEL, new Map([["a", "1"]]));
    hub.commit(MODEL, new Map([["a", "22"]]));
    const source = await open(`hf://org/model@${commit}`);
    expect(await source.probe(signal)).toMatchObject({ revision: commit, immutable: true });
    expect(hub.log).toHaveLength(0);
    const entry = (await listAll(source)).file("a");
    expect(String(await readAll(source, entry))).toBe("1");
  });

  test("a directory, and a file under its name", async () => {
    hub.commit(
      "datasets/org/name",
      new Map([
        ["d/a", "1"],
        ["d/e/b", "2"],
        ["c", "3"],
        ["d.txt", "4"],
      ]),
    );
    const directory = await open("hf://datasets/org/name/d");
    const listed = await listAll(directory);
    expect(listed.paths.toSorted()).toEqual(["a", "e/b"]);
    expect(String(await readAll(directory, listed.file("e/b")))).toBe("2");
    const file = await open("hf://datasets/org/name/d/e/b");
    const alone = await listAll(file);
    expect(alone.paths).toEqual(["b"]);
    expect(String(await readAll(file, alone.file("b")))).toBe("2");
    // Of an earlier process: nothing was listed yet.
    const later = await open("hf://datasets/org/name/d/e/b");
    expect(String(await readAll(later, alone.file("b")))).toBe("2");
    await expect(listAll(await open("hf://datasets/org/name/x"))).rejects.toMatchObject({
      code: "not-found",
      message: '"x" does not exist in org/name',
    });
  });

  test.each([
    ["what is no list", { error: "no" }],
    ["a path that is elsewhere", [{ type: "file", path: "x", oid: "0".repeat(40), size: 1 }]],
    ["a file without a name of its content", [{ type: "file", path: "d/x", oid: "", size: 1 }]],
    ["a size that is none", [{ type: "file", path: "d/x", oid: "0".repeat(40), size: -1 }]],
  ])("%s is refused", async (_, answer) => {
    hub.commit(MODEL, new Map([["d/x", "1"]]));
    const source = await open("hf://org/model/d");
    hub.intercept = ({ pathname }, response) => {
      if (!pathname.includes("/tree/")) return false;
      response.end(JSON.stringify(answer));
      return true;
    };
    await expect(listAll(source)).rejects.toMatchObject({ code: "invalid" });
  });

  test("what is neither a file nor a directory is refused where it is wanted", async () => {
    hub.commit(MODEL, new Map([["x", "1"]]));
    hub.others = [{ type: "commit", path: "lib/sub" }];
    const source = await open("hf://org/model");
    await expect(listAll(source)).rejects.toMatchObject({
      code: "unsupported",
      message: '"lib/sub" is neither a file nor a directory (commit)',
      hint: "exclude it",
    });
    const scoped = (exclude: string) =>
      listAll(source, signal, filterScope(makeFilter([], [exclude])));
    await expect(scoped("/other/")).rejects.toMatchObject({ code: "unsupported" });
    expect((await scoped("/lib/sub")).paths).toEqual(["x"]);
    expect((await scoped("/lib/")).paths).toEqual(["x"]);
  });

  test("a repository's own ignore file leaves out what is no file, wherever it is listed", async () => {
    hub.commit(
      MODEL,
      new Map([
        [".pannierignore", "lib/\n"],
        ["x", "1"],
      ]),
    );
    hub.others = [{ type: "commit", path: "lib" }];
    const target = join(folder, "target");
    const sources = [hf("hf://org/model", { endpoint: hub.endpoint })];
    // A submodule may be anything that has something below it, or not: both have to be left out.
    await expect(sync({ sources, target })).rejects.toMatchObject({ code: "unsupported" });
    hub.commit(MODEL, new Map([[".pannierignore", "lib\n"]]));
    await sync({ sources, target });
    expect(await readdir(join(target, "current"))).toEqual(["x"]);
  });

  test("pages that do not end are given up", async () => {
    hub.commit(MODEL, new Map([["x", "1"]]));
    hub.intercept = ({ pathname }, response) => {
      if (!pathname.includes("/tree/")) return false;
      response.writeHead(200, { link: '<http://other/?cursor=again>; rel="next"' }).end("[]");
      return true;
    };
    await expect(listAll(await open("hf://org/model"))).rejects.toThrow("does not end");
    expect(hub.log.length).toBeLessThan(10);
  });
});

describe("what is read", () => {
  test("a large file lies elsewhere, and the token does not go there", async () => {
    const storage = await startHub();
    onTestFinished(() => storage.close());
    hub.commit(MODEL, new Map([["weights", LARGE]]));
    hub.protect(MODEL, TOKEN);
    hub.storage = storage.endpoint;
    storage.intercept = (_, response) => {
      response.end(LARGE);
      return true;
    };
    vi.stubEnv("HF_TOKEN", TOKEN);
    const source = await open("hf://org/model");
    const entry = (await listAll(source)).file("weights");
    expect(String(await readAll(source, entry))).toBe(LARGE);
    expect(hub.log.every(({ headers }) => headers.authorization === `Bearer ${TOKEN}`)).toBe(true);
    expect(storage.log).toHaveLength(1);
    expect(JSON.stringify(storage.log[0]?.headers)).not.toContain(TOKEN);
  });

  test("a renamed repository is found", async () => {
    hub.commit(
      MODEL,
      new Map([
        ["a", "1"],
        ["weights", LARGE],
      ]),
    );
    hub.rename(MODEL, "models/org/other");
    const source = await open("hf://org/model");
    const listed = await listAll(source);
    expect(String(await readAll(source, listed.file("a")))).toBe("1");
    expect(String(await readAll(source, listed.file("weights")))).toBe(LARGE);
  });

  test.each(["small", LARGE])("what changed is told as changed", async (content) => {
    hub.commit(MODEL, new Map([["a", content]]));
    const entry = (await listAll(await open("hf://org/model"))).file("a");
    hub.commit(MODEL, new Map([["a", content.replace("s", "S")]]));
    const later = await open("hf://org/model");
    await expect(readAll(later, entry)).rejects.toMatchObject({ code: "changed" });
  });

  test("content that is not what its name in git says is refused", async () => {
    hub.commit(MODEL, new Map([["a", "right"]]));
    const source = await open("hf://org/model");
    const entry = (await listAll(source)).file("a");
    hub.intercept = ({ pathname }, response) => {
      if (!pathname.includes("/resolve/")) return false;
      response.writeHead(200, { etag: `"${entry.fingerprint}"`, "content-length": 5 }).end("wrong");
      return true;
    };
    await expect(readAll(source, entry)).rejects.toMatchObject({
      code: "invalid",
      message: '"a": its content is not what was listed',
    });
  });

  test.each(["/elsewhere", undefined])("a redirect that leads nowhere (%s)", async (location) => {
    hub.commit(MODEL, new Map([["a", "1"]]));
    const source = await open("hf://org/model");
    const entry = (await listAll(source)).file("a");
    hub.intercept = ({ pathname }, response) => {
      if (!pathname.includes("/resolve/") && pathname !== "/elsewhere") return false;
      response.writeHead(302, location === undefined ? {} : { location }).end();
      return true;
    };
    await expect(readAll(source, entry)).rejects.toMatchObject({ code: "invalid" });
  });
});

describe("who may see it", () => {
  test("a private repository without a token, with a wrong one, and with the right one", async () => {
    hub.commit(MODEL, new Map([["a", "1"]]));
    hub.protect(MODEL, TOKEN);
    await expect(listAll(await open("hf://org/model"))).rejects.toMatchObject({
      code: "auth",
      message: "org/model does not exist, or is private",
      hint: expect.stringContaining("HF_TOKEN"),
    });
    vi.stubEnv("HF_TOKEN", "hf_another");
    await expect(listAll(await open("hf://org/model"))).rejects.toMatchObject({
      code: "not-found",
    });
    const tokenFile = join(folder, "given");
    await writeFile(tokenFile, `${TOKEN}\n`);
    const source = await open("hf://org/model", { tokenFile });
    expect((await listAll(source)).paths).toEqual(["a"]);
    expect(await source.identity?.(signal)).toBe("the credentials given to Pannier");
  });

  test("a gated one says what to do", async () => {
    hub.commit(MODEL, new Map([["a", "1"]]));
    hub.protect(MODEL, TOKEN, true);
    await expect(readA()).rejects.toMatchObject({
      code: "auth",
      message: '"a": org/model is gated',
      hint: expect.stringContaining("token of an account that was granted access"),
    });
    vi.stubEnv("HF_TOKEN", "hf_another");
    await expect(readA()).rejects.toMatchObject({
      hint: "accept its conditions on the page of org/model, with the account of the token",
    });
  });

  test("a revision that is not there", async () => {
    hub.commit(MODEL, new Map([["a", "1"]]));
    await expect(listAll(await open("hf://org/model@v9"))).rejects.toMatchObject({
      code: "not-found",
      message: 'org/model has no revision "v9"',
    });
  });

  test("nothing that signs in goes to a Hub over plain http, unless that is this machine", async () => {
    hub.commit(MODEL, new Map([["a", "1"]]));
    // By a proxy, so that the name need not be known to anybody.
    vi.stubEnv("HTTP_PROXY", hub.endpoint);
    vi.stubEnv("NO_PROXY", undefined);
    expect((await listAll(await open("hf://org/model", {}, "http://hub.test"))).paths).toEqual([
      "a",
    ]);
    hub.log.length = 0;
    vi.stubEnv("HF_TOKEN", TOKEN);
    await expect(
      listAll(await open("hf://org/model", {}, "http://hub.test")),
    ).rejects.toMatchObject({
      name: "UsageError",
      message: "the token of HF_TOKEN would be sent over plain http to the Hub",
    });
    const tokenFile = join(folder, "given");
    await writeFile(tokenFile, TOKEN);
    await expect(
      (await open("hf://org/model", { tokenFile }, "http://hub.test")).probe(signal),
    ).rejects.toMatchObject({
      message: "what was given to Pannier would be sent over plain http to the Hub",
    });
    expect(hub.log).toEqual([]);
  });

  test("a token is found where Hugging Face's tools look for it", async () => {
    expect(await findToken({})).toBeUndefined();
    expect(await findToken({ HOME: folder })).toBeUndefined();
    const file = join(folder, "token");
    await writeFile(file, `${TOKEN}\n`);
    expect(await findToken({ HF_HOME: folder })).toEqual({ value: TOKEN, from: file });
    expect(await findToken({ HF_TOKEN_PATH: file })).toEqual({ value: TOKEN, from: file });
    const env = { HF_TOKEN: " hf_other ", HF_TOKEN_PATH: file };
    expect(await findToken(env)).toEqual({ value: "hf_other", from: "HF_TOKEN" });
    await expect(findToken({ HF_TOKEN_PATH: join(folder, "none") })).rejects.toMatchObject({
      code: "auth",
    });
    await expect(findToken({ HF_TOKEN: "two words" })).rejects.toMatchObject({
      code: "auth",
      message: expect.not.stringContaining("words and"),
    });
  });
});

test("a sync, and one after a change, fetch what they have to", async () => {
  hub.commit(
    MODEL,
    new Map([
      ["config.json", "{}"],
      ["weights", LARGE],
    ]),
  );
  const target = join(folder, "target");
  const sources = [hf("hf://org/model", { endpoint: hub.endpoint })];
  await sync({ sources, target });
  expect(await readFile(join(target, "current", "weights"), "utf8")).toBe(LARGE);
  hub.commit(MODEL, new Map([["config.json", '{"a":1}']]));
  const before = hub.log.length;
  const result = await sync({ sources, target });
  expect(result).toMatchObject({ result: "published", received: 7 });
  expect(await readFile(join(target, "current", "config.json"), "utf8")).toBe('{"a":1}');
  expect(hub.log.slice(before).map(({ url }) => url.pathname.split("/").at(-2))).not.toContain(
    "storage",
  );
  expect(hfAdapter.name).toBe("hf");
});

test("what was read of a large file before a cut is not asked for again", async () => {
  hub.commit(MODEL, new Map([["weights", LARGE]]));
  const source = await open("hf://org/model");
  const entry: FileEntry = (await listAll(source)).file("weights");
  expect(String(await readAll(source, entry, { offset: 8, length: 8 }))).toBe("weights ");
  expect(hub.log.at(-1)?.headers.range).toBe("bytes=8-15");
});

test("the commit that a lock file names is fetched, also where the branch has moved on", async () => {
  const lock = join(folder, "pannier.lock");
  const sources = [hf("hf://org/model", { endpoint: hub.endpoint })];
  const run = (target: string, locked: boolean) =>
    sync({ sources, target: join(folder, target), lock, locked });
  hub.commit(MODEL, new Map([["a", "1"]]));
  await run("one", false);
  hub.commit(MODEL, new Map([["a", "22"]]));
  expect(await run("two", true)).toMatchObject({ result: "published" });
  expect(await readFile(join(folder, "two/current/a"), "utf8")).toBe("1");
});
