/** The http adapter against real servers, and against archives that real programs made. */
import { execFile } from "node:child_process";
import {
  chmod,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { http } from "@pannier/adapter-http";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { type Credentials, type SourceSpec, sync, type SyncEvent } from "@pannier/core";
import { expect, onTestFinished, test } from "vitest";
import { describeWith } from "./support.ts";

const run = promisify(execFile);

const FILES: Record<string, string> = {
  "a.txt": "a",
  empty: "",
  "large.bin": "0123456789".repeat(100_000),
  "sub/deep/er/x": "x",
  "names/with space": "1",
  "names/ümläut 日本": "2",
  "names/100%25 & <b> \"q\" 'a'": "3",
  "names/a:b": "4",
  "names/q?x=1#y": "5",
  "names/-rf": "6",
  [`names/${"long-".repeat(40)}`]: "7",
};

async function makeTree(root: string, name: string): Promise<void> {
  for (const [path, content] of Object.entries(FILES)) {
    const file = join(root, name, path);
    await mkdir(join(file, ".."), { recursive: true });
    await writeFile(file, content);
  }
}

async function open(spec: SourceSpec, credentials: Credentials = {}) {
  const opened = await openSource(spec, { credentials });
  onTestFinished(() => opened.close());
  return opened.source;
}

async function contents(spec: SourceSpec, credentials?: Credentials) {
  const source = await open(spec, credentials);
  const { entries } = await listAll(source);
  const found: Record<string, string> = {};
  for (const [path, entry] of entries) {
    if (entry.kind === "symlink") found[path] = `-> ${entry.target}`;
    else found[path] = String(await readAll(source, entry));
  }
  return found;
}

describeWith("nginx", "HTTP from nginx", (nginx) => {
  test("lists HTML and JSON indexes", async () => {
    await makeTree(nginx.root, "http-tree");
    for (const kind of ["html", "json"]) {
      expect(await contents(http(`${nginx.http}/${kind}/http-tree/`))).toEqual(FILES);
    }
  });

  test("polls with 304, pins what it reads, and signs in over TLS", async () => {
    const file = join(nginx.root, "http-file.bin");
    await writeFile(file, "first");
    const source = await open(http(`${nginx.http}/files/http-file.bin`));
    const listed = await listAll(source);
    const { signal } = new AbortController();
    const token = listed.listing.token?.();
    expect((await source.probe(signal, token))?.token).toBe(token);
    const entry = listed.file("http-file.bin");
    expect(String(await readAll(source, entry, { offset: 2, length: 2 }))).toBe("rs");
    await writeFile(file, "second version");
    expect((await source.probe(signal, token))?.token).not.toBe(token);
    await expect(readAll(source, entry)).rejects.toMatchObject({ code: "changed" });
    await expect(readAll(source, entry, { offset: 2 })).rejects.toMatchObject({ code: "changed" });

    const { username, password } = nginx;
    const url = `${nginx.https}/private/http-file.bin`;
    const trusted = { caFile: nginx.ca };
    expect(await contents(http(url), { ...trusted, username, password })).toEqual({
      "http-file.bin": "second version",
    });
    await expect(contents(http(url), trusted)).rejects.toMatchObject({ code: "auth" });
    await expect(contents(http(url))).rejects.toMatchObject({ code: "unavailable" });
    const mine = { clientCertFile: nginx.clientCert, clientKeyFile: nginx.clientKey };
    const strict = http(`${nginx.clientTls}/files/http-file.bin`);
    expect(Object.keys(await contents(strict, { ...trusted, ...mine }))).toHaveLength(1);
    await expect(contents(strict, trusted)).rejects.toMatchObject({ transient: false });
  });

  test("unpacks what tar, gzip, zstd, xz and zip make", async () => {
    await makeTree(nginx.root, "http-packed/tree");
    const folder = join(nginx.root, "http-packed");
    await chmod(join(folder, "tree/a.txt"), 0o755);
    await symlink("a.txt", join(folder, "tree/symlink"));
    const zip = run("zip", ["-qry", "x.zip", "tree"], { cwd: folder });
    const expected = { ...FILES, symlink: "-> a.txt" };
    await zip;
    expect(await contents(http(`${nginx.http}/files/http-packed/x.zip`, { strip: 1 }))).toEqual(
      expected,
    );
    await link(join(folder, "tree/large.bin"), join(folder, "tree/same"));
    const linked = { ...expected, same: FILES["large.bin"] as string };
    for (const format of ["gnu", "pax"]) {
      for (const [name, flag] of [
        ["x.tar", "-c"],
        ["x.tar.gz", "-cz"],
        ["x.tar.zst", "-c --zstd"],
        ["x.tar.xz", "-cJ"],
      ] as const) {
        const file = `${format}-${name}`;
        const flags = [`--format=${format}`, ...flag.split(" "), "-f", file, "./tree"];
        await run("tar", flags, { cwd: folder });
        const url = `${nginx.http}/files/http-packed/${file}`;
        expect({ file, found: await contents(http(url, { strip: 1 })) }).toEqual({
          file,
          found: linked,
        });
      }
    }
    await run("sh", ["-c", "sha256sum *x.* > SHA256SUMS"], { cwd: folder });
    const url = `${nginx.http}/files/http-packed/gnu-x.tar.xz`;
    const checked = http(url, { strip: 1, path: "sub", checksum: "SHA256SUMS" });
    expect(await contents(checked)).toEqual({ "deep/er/x": "x" });
  });

  test("lists by what sha256sum wrote", async () => {
    await makeTree(nginx.root, "http-sums");
    const folder = join(nginx.root, "http-sums");
    await writeFile(join(folder, "new\nline\\"), "n");
    await run("sh", ["-c", "find . -type f ! -name SHA256SUMS -exec sha256sum {} + > SHA256SUMS"], {
      cwd: folder,
    });
    expect(await contents(http(`${nginx.http}/files/http-sums/`))).toEqual({
      ...FILES,
      "new\nline\\": "n",
    });
  });
});

describeWith("apache", "HTTP from Apache", (apache) => {
  test("lists plain, fancy and table indexes", async () => {
    await makeTree(apache.root, "http-tree");
    for (const url of [apache.plain, apache.fancy, apache.table]) {
      expect(await contents(http(`${url}/http-tree/`))).toEqual(FILES);
    }
  });
});

/** What each server has to list, whatever it makes of such names. */
const NASTY: Record<string, string> = {
  "R&D/a.txt": "1",
  "100%/b": "2",
  "a+b": "3",
  "ü/ö.txt": "4",
  "x#y": "5",
  "q?z=1": "6",
  "with blank/c d": "7",
  "quo'te\"s": "8",
  "se;mi": "9",
  "@ = , $": "10",
  "<b>": "11",
  "a:b": "12",
  "%41": "13",
  "-rf": "14",
  "[x] {y} ^ ~ `": "15",
  [`long/${"ü".repeat(100)}`]: "16",
  // A page that is nothing but its title.
  "one/file": "17",
};

/** What begins with a dot: nginx and lighttpd do not show it. */
const DOTS = { ".dot": "18", "dots/.only": "19" };

const LONG_AGO = new Date("2025-02-03T04:05:06Z");

async function makeNasty(root: string): Promise<string> {
  const name = "nasty & 100% ü";
  for (const [path, content] of Object.entries({ ...NASTY, ...DOTS })) {
    const file = join(root, name, path);
    await mkdir(join(file, ".."), { recursive: true });
    await writeFile(file, content);
    // What was written just now is looked at once more.
    await utimes(file, LONG_AGO, LONG_AGO);
  }
  await mkdir(join(root, name, "empty"), { recursive: true });
  await symlink("nowhere", join(root, name, "dangling")).catch(() => {});
  return `${encodeURIComponent(name)}/`;
}

/** What is published of it, the first time; the second time nothing is. */
async function syncNasty(url: string, root: string) {
  const folder = await makeNasty(root);
  const target = await mkdtemp(join(tmpdir(), "pannier-index-"));
  onTestFinished(() => rm(target, { recursive: true, force: true }));
  const warnings: string[] = [];
  const options = { sources: [http(url + folder)], target };
  const onEvent = (event: SyncEvent) => {
    if (event.type === "warning") warnings.push(event.message);
  };
  expect(await sync({ ...options, onEvent })).toMatchObject({ result: "published" });
  const files = await filesBelow(join(target, "current"));
  expect((await sync(options)).result).toBe("unchanged");
  return { files, warnings };
}

async function filesBelow(root: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(`${root}/`, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    found[relative(root, path)] = await readFile(path, "utf8");
  }
  return found;
}

for (const [name, title, files] of [
  ["python", "Python's http.server", { ...NASTY, ...DOTS }],
  ["lighttpd", "lighttpd", NASTY],
  ["caddy", "Caddy", { ...NASTY, ...DOTS }],
  ["rcloneHttp", "rclone serve http", { ...NASTY, ...DOTS }],
  ["serveIndex", "serve-index", { ...NASTY, ...DOTS }],
  ["httpServer", "http-server", { ...NASTY, ...DOTS }],
  ["tomcat", "Tomcat", { ...NASTY, ...DOTS }],
  ["fancyIndex", "nginx's fancyindex", { ...NASTY, ...DOTS }],
] as const) {
  describeWith(name, `HTTP from ${title}`, (server) => {
    test("lists its index, with whatever names", async () => {
      expect((await syncNasty(server.url, server.root)).files).toEqual(files);
    });
  });
}

describeWith("rcloneHttp", "rclone's index", (rclone) => {
  test("tells enough of its files", async () => {
    await makeTree(rclone.root, "http-plain");
    const { requests, source, close } = await openSource(http(`${rclone.url}http-plain/sub/`));
    onTestFinished(close);
    const entry = (await listAll(source)).file("deep/er/x");
    // Two names of a manifest, and the pages of sub, deep and er: none for the file.
    expect(requests).toEqual(["list", "list", "list", "list", "list"]);
    expect(String(await readAll(source, entry))).toBe("x");
  });
});

describeWith("jetty", "HTTP from Jetty", (jetty) => {
  test("lists its index, with whatever names", async () => {
    const folder = await makeNasty(jetty.root);
    // It breaks the connection instead of an answer.
    await rm(join(jetty.root, decodeURIComponent(folder), "dangling"), { force: true });
    expect(await contents(http(jetty.url + folder))).toEqual({ ...NASTY, ...DOTS });
  });
});

describeWith("nginx", "nginx's index of what is no file", (nginx) => {
  test.each(["html", "json"])("is published without it: %s", async (kind) => {
    const folder = decodeURIComponent(await makeNasty(nginx.root));
    await run("mkfifo", [join(nginx.root, folder, `fifo-${kind}`)]);
    const { files, warnings } = await syncNasty(`${nginx.http}/${kind}/`, nginx.root);
    expect(files).toEqual(NASTY);
    expect(warnings.join()).toContain(
      'left out what the server lists but does not have as a file: "dangling" and ',
    );
  });
});
