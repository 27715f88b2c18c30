/** What goes wrong at the user's side: the exit code of the contract, and one line that says what to do. Secrets appear nowhere. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { generate } from "selfsigned";
import { describe, expect, onTestFinished, test } from "vitest";
import { jsonLines, startPannier } from "../support/pannier.ts";
import { serveArchive } from "./archive.ts";
import { pannier, pannierOk, serve, workDirectory } from "./support.ts";

interface Place {
  /** A source of one file, that is fine. */
  readonly source: string;
  /** Not there yet. */
  readonly target: string;
  readonly work: string;
}

interface Attempt {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

interface Case {
  readonly code: number;
  /** What the one line must tell, beside what went wrong. */
  readonly says: RegExp;
  readonly attempt: (place: Place) => Attempt | Promise<Attempt>;
}

async function makePlace(): Promise<Place> {
  const work = await workDirectory();
  const source = join(work, "source");
  await mkdir(source);
  await writeFile(join(source, "file"), "content\n");
  return { work, source, target: join(work, "target") };
}

/** A case whose source alone is wrong. */
function badSource(code: number, says: RegExp, source: string | (() => Promise<string>)): Case {
  return {
    code,
    says,
    attempt: async ({ target }) => ({
      args: ["sync", typeof source === "string" ? source : await source(), target],
    }),
  };
}

/** A case that is wrong about the source of one file. */
function badUse(
  code: number,
  says: RegExp,
  prepare: (place: Place) => Promise<readonly string[] | void>,
): Case {
  return {
    code,
    says,
    attempt: async (place) => {
      const flags = (await prepare(place)) ?? [];
      return { args: ["sync", place.source, place.target, ...flags] };
    },
  };
}

const CASES: Record<string, Case> = {
  "no arguments": { code: 2, says: /source.*PANNIER_SOURCE/, attempt: () => ({ args: ["sync"] }) },
  "no target": {
    code: 2,
    says: /target.*PANNIER_TARGET/,
    attempt: ({ source }) => ({ args: ["sync", source] }),
  },
  "an unknown command": { code: 2, says: /sync/, attempt: () => ({ args: ["synk"] }) },
  "an unknown flag": badUse(2, /--period|--publish/, async () => ["--publsh=swap"]),
  "a flag with a wrong value": badUse(2, /swap.*mirror/, async () => ["--publish=copy"]),
  "a period that is none": {
    code: 2,
    says: /period/i,
    attempt: ({ source, target }) => ({ args: ["watch", source, target, "--period=soon"] }),
  },
  "a scheme without an adapter": badSource(2, /swift/, "swift://container/prefix/"),
  "a scheme of nobody": badSource(2, /file|git|http/, "gopher://host/x"),
  "a URL that is none": badSource(2, /URL/i, "http://[half"),
  "an unknown option": badSource(2, /\bref\b/, "git+http://127.0.0.1:1/x.git?reff=main"),
  "an option with a wrong value": badSource(2, /auto/, "git+http://127.0.0.1:1/x.git?engine=go"),
  "a ref that would be an option of git": badSource(
    2,
    /branch|tag/,
    "git+http://127.0.0.1:1/x.git?ref=--upload-pack%3dtouch%20x",
  ),
  "a source that is not there": badSource(4, /nowhere/, "/nowhere/at/all"),
  "a page that is not there": badSource(4, /404|not/i, async () => {
    const origin = await serve((_, response) => response.writeHead(404).end());
    return `${origin}/site.tar.gz`;
  }),
  "a port where nobody listens": badSource(5, /reach|connect|refused/i, "http://127.0.0.1:1/x.tar"),
  // No name can have a part this long, so that nobody is asked for it.
  "a host of no name": badSource(5, /host/, `http://${"x".repeat(64)}.invalid/x.tar`),
  "a server that keeps failing": badSource(5, /503|server/i, async () => {
    const origin = await serve((_, response) => response.writeHead(503).end());
    return `${origin}/site.tar.gz`;
  }),
  "a certificate of nobody": badSource(5, /PANNIER_CA_FILE/, async () => {
    const { cert, private: key } = await generate([{ name: "commonName", value: "127.0.0.1" }]);
    const server = https.createServer({ cert, key }, (_, response) => void response.end("x"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    return `https://127.0.0.1:${(server.address() as AddressInfo).port}/x.txt`;
  }),
  "no password where one is needed": badSource(3, /PANNIER_USERNAME|PANNIER_PASSWORD/, async () => {
    const origin = await serve((_, response) => {
      response.writeHead(401, { "www-authenticate": "Basic" }).end();
    });
    return `${origin}/x.txt`;
  }),
  "a wrong password": {
    code: 3,
    says: /password|PANNIER_/i,
    attempt: async ({ target }) => {
      const origin = await serve((_, response) => {
        response.writeHead(401, { "www-authenticate": "Basic" }).end();
      });
      const env = { PANNIER_USERNAME: "me", PANNIER_PASSWORD: "wrong" };
      return { args: ["sync", `${origin}/x.txt`, target], env };
    },
  },
  "a password file that is not there": {
    code: 2,
    says: /nowhere/,
    attempt: async ({ target }) => {
      const origin = await serve((_, response) => response.writeHead(401).end());
      const env = { PANNIER_USERNAME: "me", PANNIER_PASSWORD_FILE: "/nowhere/password" };
      return { args: ["sync", `${origin}/x.txt`, target], env };
    },
  },
  "a checksum that does not match": badSource(6, /checksum|sha256/i, async () => {
    const origin = await serve((_, response) => response.end("content"));
    return `${origin}/x.txt?checksum=sha256:${"0".repeat(64)}`;
  }),
  "an archive that climbs out": badSource(6, /\.\./, async () => {
    const archive = await serveArchive();
    await archive.set({ "../../escaped": "x" });
    return archive.url;
  }),
  "an archive that is none": badSource(6, /archive|tar/i, async () => {
    const origin = await serve((_, response) => response.end("<html>Sign in first</html>"));
    return `${origin}/x.tar.gz`;
  }),
  "a link that leaves the tree": badUse(6, /out.*--symlinks|--symlinks/, async ({ source }) => {
    await symlink("../../secret", join(source, "out"));
  }),
  "a source that became empty": badUse(6, /--max-delete/, async ({ source, target }) => {
    await pannierOk(["sync", source, target]);
    await rm(join(source, "file"));
  }),
  "too many files": badUse(6, /--max-files/, async ({ source }) => {
    await writeFile(join(source, "second"), "");
    return ["--max-files=1"];
  }),
  "too large a file": badUse(6, /--max-file-bytes/, async () => ["--max-file-bytes=2"]),
  "more bytes than allowed": badUse(7, /--max-bytes/, async () => ["--max-bytes=2"]),
  "a target that is a file": badUse(2, /directory/, ({ target }) => writeFile(target, "")),
  "a target inside a file": {
    code: 2,
    says: /directory/,
    attempt: async ({ work, source }) => {
      await writeFile(join(work, "occupied"), "");
      return { args: ["sync", source, join(work, "occupied/target")] };
    },
  },
  "a target in its own source": {
    code: 2,
    says: /source|inside/,
    attempt: ({ source }) => ({ args: ["sync", source, join(source, "target")] }),
  },
  "a link's name that is taken": badUse(2, /current/, async ({ target }) => {
    await mkdir(join(target, "current"), { recursive: true });
    await writeFile(join(target, "current", "precious"), "");
  }),
  "a target that another process holds": badUse(2, /another Pannier/, async (place) => {
    const running = startPannier(["watch", place.source, place.target, "--json"]);
    onTestFinished(async () => {
      running.child.kill("SIGTERM");
      await running.ended;
    });
    await jsonLines(running).until((event) => event["type"] === "published");
  }),
  "a target of another mode": badUse(2, /mirror|swap/, async ({ source, target }) => {
    await pannierOk(["sync", source, target, "--publish=swap"]);
    return ["--publish=mirror"];
  }),
  "a target of a later Pannier": badUse(2, /later version/, async ({ source, target }) => {
    await pannierOk(["sync", source, target]);
    const { DatabaseSync } = await import("node:sqlite");
    const db = new DatabaseSync(join(target, ".pannier/state.db"));
    const { user_version: own } = db.prepare("PRAGMA user_version").get() as {
      readonly user_version: number;
    };
    db.exec(`PRAGMA user_version = ${own + 1}`);
    db.close();
  }),
  "a target whose .pannier is somebody's file": badUse(2, /\.pannier/, async ({ target }) => {
    await mkdir(target);
    await writeFile(join(target, ".pannier"), "");
  }),
  "a target that was never synced": {
    code: 2,
    says: /target|publish/,
    attempt: ({ work }) => ({ args: ["status", join(work, "never")] }),
  },
};

test.each(Object.entries(CASES))("%s", async (_, { code, says, attempt }) => {
  const { args, env = {} } = await attempt(await makePlace());
  const outcome = await pannier(args, { env });
  expect(outcome.code, outcome.stderr).toBe(code);
  const lines = outcome.stderr.trim().split("\n");
  const errors = lines.filter((line) => !line.startsWith("pannier: warn:"));
  expect(errors, outcome.stderr).toHaveLength(1);
  // What is wrong, and then what to do about it, where the values allowed do not say that already.
  expect(errors[0]).toMatch(/^pannier: \S.*(\. [A-Z]\S| one of \S+, )/);
  expect(errors[0]).toMatch(says);
});

const isRoot = process.getuid?.() === 0;
const rootOnly = { meta: { skipReason: "mounting takes root on Linux" } };

async function mount(at: string, ...options: string[]): Promise<void> {
  await mkdir(at, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", ...options, "tmpfs", at]);
  onTestFinished(() => void execFileSync("umount", ["--lazy", at]));
}

describe.skipIf(!isRoot || process.platform !== "linux")("mounted targets", rootOnly, () => {
  test("a target that is read-only", async () => {
    const { source, target } = await makePlace();
    await mount(target, "-o", "ro");
    const { code, stderr } = await pannier(["sync", source, target]);
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^pannier: .*read-only.*\n$/i)]);
  });

  test("a directory of the target that is on another device", async () => {
    const { source, target } = await makePlace();
    await mkdir(join(source, "data"));
    await writeFile(join(source, "data/file"), "content\n");
    await mount(join(target, "data"));
    const { code, stderr } = await pannier(["sync", source, target, "--publish=mirror"]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^pannier: .*data.*\n$/)]);
  });

  test("trees that would be on another device", async () => {
    const { source, target } = await makePlace();
    await mount(join(target, ".pannier"));
    const { code, stderr } = await pannier(["sync", source, target]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^pannier: .*another device.*\n$/)]);
  });
});

const basic = (password: string) => `Basic ${Buffer.from(`me:${password}`).toString("base64")}`;

test("secrets appear in no output and in no file of a target", async () => {
  const { work } = await makePlace();
  const secrets = {
    userinfo: "p4ss in url",
    variable: "hunter2 & co",
    file: "from-a-file-91c",
    query: "sig77aa31",
  };
  const passwordFile = join(work, "password");
  await writeFile(passwordFile, `${secrets.file}\n`);
  const authorizations: string[] = [];
  let status = 200;
  const origin = await serve((request, response) => {
    authorizations.push(request.headers.authorization ?? "");
    response.writeHead(status, {
      "www-authenticate": "Basic",
      etag: `"${status}"`,
      location: `/elsewhere?X-Amz-Signature=${secrets.query}`,
    });
    response.end("content");
  });
  const userinfo = `me:${encodeURIComponent(secrets.userinfo)}@`;
  const withUserinfo = (path: string) => origin.replace("//", `//${userinfo}`) + path;
  const attempts: { source: string; env?: Record<string, string> }[] = [
    { source: withUserinfo("/a.txt") },
    { source: `${origin}/b.txt?X-Amz-Signature=${secrets.query}` },
    {
      source: `${origin}/c.txt`,
      env: { PANNIER_USERNAME: "me", PANNIER_PASSWORD: secrets.variable },
    },
    {
      source: `${origin}/d.txt`,
      env: { PANNIER_USERNAME: "me", PANNIER_PASSWORD_FILE: passwordFile },
    },
    { source: `git+${withUserinfo("/e.git")}?engine=js` },
    { source: `git+${withUserinfo("/f.git")}?engine=cli` },
  ];

  let output = "";
  const run = async (args: readonly string[], env: Record<string, string> = {}) => {
    const { stdout, stderr } = await pannier(args, { env });
    output += stdout + stderr;
  };
  for (status of [200, 401, 302]) {
    for (const [index, { source, env }] of attempts.entries()) {
      const target = join(work, "targets", String(index));
      const format = index % 2 === 0 ? [] : ["--json"];
      await run(["sync", source, target, "--timeout=2s", "--log-level=debug", ...format], env);
      if (status === 302) await run(["status", target, ...format], env);
      if (status !== 401) continue;
      await run(["plan", source, target, "--timeout=2s", ...format], env);
      await run(["ls", source, "--timeout=2s", ...format], env);
      await run(["doctor", source, "--timeout=2s", ...format], env);
    }
  }

  // They did get to the server: otherwise this test would show nothing.
  for (const secret of [secrets.userinfo, secrets.variable, secrets.file]) {
    expect(authorizations).toContain(basic(secret));
  }
  const forms = Object.values(secrets).flatMap((secret) => [
    secret,
    encodeURIComponent(secret),
    basic(secret),
  ]);
  const found = (text: string) => forms.filter((form) => text.includes(form));
  expect(found(output)).toEqual([]);
  const files = await readdir(join(work, "targets"), { recursive: true, withFileTypes: true });
  for (const file of files.filter((entry) => entry.isFile())) {
    const content = await readFile(join(file.parentPath, file.name), "latin1");
    expect(found(content), file.name).toEqual([]);
  }
});
