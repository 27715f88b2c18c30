/** The http adapter against real servers, and against archives that real programs made. */
import { execFile } from "node:child_process";
import { chmod, link, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { http } from "@pannier/adapter-http";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import type { Credentials, SourceSpec } from "@pannier/core";
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
  test("lists plain and fancy indexes", async () => {
    await makeTree(apache.root, "http-tree");
    for (const url of [apache.plain, apache.fancy]) {
      expect(await contents(http(`${url}/http-tree/`))).toEqual(FILES);
    }
  });
});
