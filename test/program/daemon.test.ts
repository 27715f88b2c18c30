/** The sidecar as a process: what kills, full volumes and rotated credentials do to it. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type RunOptions, runPannier, startPannier } from "../support/pannier.ts";
import { serve, workDirectory } from "./support.ts";
import { ownTime } from "../support/own-time.ts";
import { eventually } from "../support/eventually.ts";

interface Sidecar {
  get(path: string): Promise<{ readonly status: number; readonly text: string }>;
  /** Of the one mount. */
  status(): Promise<Record<string, unknown>>;
  kill(signal: NodeJS.Signals): Promise<{ readonly code: number | null; readonly stderr: string }>;
}

/** `pannier run` by its environment alone, once it listens. */
async function start(
  env: Readonly<Record<string, string>>,
  options: RunOptions = {},
): Promise<Sidecar> {
  const { child, ended } = startPannier(["run", "--http=127.0.0.1:0"], { ...options, env });
  onTestFinished(() => void child.kill("SIGKILL"));
  let log = "";
  child.stderr?.on("data", (text: string) => (log += text));
  const origin = await eventually(() => {
    const [, address] = /listening on (\S+)/.exec(log) ?? [];
    if (address === undefined) throw new Error(`it does not listen: ${log}`);
    return `http://${address}`;
  });
  const get = async (path: string) => {
    const response = await fetch(origin + path);
    return { status: response.status, text: await response.text() };
  };
  return {
    get,
    async status() {
      const { mounts } = JSON.parse((await get("/status")).text) as {
        mounts: [Record<string, unknown>];
      };
      return mounts[0];
    },
    async kill(signal) {
      child.kill(signal);
      const { code, stderr } = await ended;
      return { code, stderr };
    },
  };
}

/** One file, whose download stops in the middle until it may go on. */
async function serveSlowly() {
  const state = { text: "first", stall: false, stalled: 0 };
  const origin = await serve((request, response) => {
    const body = state.text.padEnd(100_000);
    response.setHeader("content-length", body.length);
    response.setHeader("etag", `"${state.text}"`);
    if (request.method === "HEAD") return response.end();
    if (!state.stall) return response.end(body);
    state.stalled++;
    return response.write(body.slice(0, 50_000));
  });
  return { url: `${origin}/page.txt`, state };
}

test("SIGTERM in the middle of a download: the end, at once, with 0 and nothing half done", async () => {
  const target = join(await workDirectory(), "t");
  const { url, state } = await serveSlowly();
  state.stall = true;
  const sidecar = await start({ PANNIER_SOURCE: url, PANNIER_TARGET: target });
  await eventually(() => expect(state.stalled).toBeGreaterThan(0));
  const took = ownTime();
  const { code, stderr } = await sidecar.kill("SIGTERM");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  // Not the grace, which is for hooks.
  expect(took()).toBeLessThan(8000);
  expect(existsSync(join(target, "current"))).toBe(false);
});

test("SIGKILL, and a restart over the same volume while the source is gone: ready at once", async () => {
  const target = join(await workDirectory(), "t");
  const { url, state } = await serveSlowly();
  const env = { PANNIER_SOURCE: url, PANNIER_TARGET: target, PANNIER_PERIOD: "100ms" };
  const first = await start(env);
  await eventually(async () => expect(await first.get("/readyz")).toMatchObject({ status: 200 }));
  state.stall = true;
  state.text = "second";
  await eventually(() => expect(state.stalled).toBeGreaterThan(0));
  await first.kill("SIGKILL");
  const second = await start({ ...env, PANNIER_SOURCE: url });
  expect(await second.get("/readyz")).toEqual({ status: 200, text: "ok\n" });
  expect(readFileSync(join(target, "current/page.txt"), "utf8").trim()).toBe("first");
  state.stall = false;
  await second.kill("SIGKILL");
  const third = await start(env);
  await eventually(() =>
    expect(readFileSync(join(target, "current/page.txt"), "utf8").trim()).toBe("second"),
  );
  expect((await third.kill("SIGTERM")).code).toBe(0);
});

test("an outage: one line when it begins, and one when it is over", async () => {
  const target = join(await workDirectory(), "t");
  let up = true;
  const origin = await serve((_, response) =>
    up ? response.setHeader("etag", '"1"').end("1") : response.writeHead(403).end(),
  );
  const sidecar = await start({
    PANNIER_SOURCE: `${origin}/page.txt`,
    PANNIER_TARGET: target,
    PANNIER_PERIOD: "100ms",
  });
  await eventually(async () => expect(await sidecar.get("/readyz")).toMatchObject({ status: 200 }));
  up = false;
  await eventually(async () => expect((await sidecar.status())["failures"]).toBeGreaterThan(0));
  up = true;
  await eventually(async () => expect(await sidecar.status()).toMatchObject({ failures: 0 }));
  const { stderr } = await sidecar.kill("SIGTERM");
  expect(stderr).toMatch(/ info {2}recovered after \d failures?, \S+ mount=t\n/);
});

test("a second one at a target warns and waits, and says when it takes over", async () => {
  const folder = await workDirectory();
  mkdirSync(join(folder, "source"));
  writeFileSync(join(folder, "source/a"), "1");
  const env = { PANNIER_SOURCE: join(folder, "source"), PANNIER_TARGET: join(folder, "t") };
  const first = await start(env);
  await eventually(async () => expect(await first.get("/readyz")).toMatchObject({ status: 200 }));
  const second = await start(env);
  await eventually(async () => expect((await second.status())["failures"]).toBeGreaterThan(0));
  expect(await second.get("/readyz")).toMatchObject({ status: 200 });
  await first.kill("SIGTERM");
  await eventually(async () => expect(await second.status()).toMatchObject({ failures: 0 }));
  const { stderr } = await second.kill("SIGTERM");
  expect(stderr).toMatch(/ warn {2}another Pannier is at work on /);
  expect(stderr).toMatch(/ info {2}took the target over after \d failures?, \S+ mount=t\n/);
  expect(stderr).not.toContain(" error ");
});

test("--once: no word of a next attempt where there is none", async () => {
  const folder = await workDirectory();
  const { code, stderr } = await runPannier(["run", "--once"], {
    env: { PANNIER_SOURCE: join(folder, "missing"), PANNIER_TARGET: join(folder, "t") },
  });
  expect(code).toBe(4);
  expect(stderr).toContain("failures=1");
  expect(stderr).not.toContain("next=");
});

test("--once: 9 where the content is published and a hook after it failed for good", async () => {
  const folder = await workDirectory();
  mkdirSync(join(folder, "source"));
  writeFileSync(join(folder, "source/a"), "1");
  writeFileSync(
    join(folder, "pannier.yaml"),
    "mounts: [{ target: t, sources: [source], hooks: { postPublish: { command: ['false'], retries: 0 } } }]",
  );
  const { code, stderr } = await runPannier(["run", "--once"], { cwd: folder });
  expect({ code, stderr }).toMatchObject({ code: 9 });
  expect(readFileSync(join(folder, "t/current/a"), "utf8")).toBe("1");
  expect(stderr).toContain("postPublish hook failed: it ended with code 1");
});

const good = "mounts: [{ name: site, target: t, sources: ['${SOURCE}'], period: 100ms }]\n";

test.each([
  ["is no YAML", "mounts: [ { name: site", "known"],
  ["is no YAML, and is all that there is", `${good}}: [`, "lost"],
  ["has an unknown key", good.replace("period", "periodd"), "lost"],
  ["names a variable that is not set", good.replace("SOURCE", "NOWHERE"), "lost"],
  ["is refused by an adapter", good.replace("${SOURCE}", "nope://host/x"), "lost"],
  ["is empty", "", "known"],
  ["is gone", undefined, "known"],
])(
  "SIGKILL, and a restart over a configuration that %s: what is published is answered for, until there is a better one",
  async (_, bad, memory) => {
    const folder = await workDirectory();
    const config = join(folder, "pannier.yaml");
    const source = join(folder, "s3cret");
    mkdirSync(source);
    mkdirSync(join(folder, "tmp"));
    writeFileSync(join(source, "a"), "1");
    writeFileSync(config, good);
    const env = { SOURCE: source, TMPDIR: join(folder, "tmp") };
    const options = { cwd: folder };
    const named = { ...env, PANNIER_CONFIG: config };
    const first = await start(named, options);
    await eventually(async () => expect(await first.get("/readyz")).toMatchObject({ status: 200 }));
    await first.kill("SIGKILL");
    const [remembered] = readdirSync(join(folder, "tmp"), { recursive: true, encoding: "utf8" })
      .filter((path) => /^pannier-\d+\/\w+\.json$/.test(path))
      .map((path) => readFileSync(join(folder, "tmp", path), "utf8"));
    expect(remembered).toContain("/t");
    expect(remembered).not.toContain("s3cret");
    if (memory === "lost") {
      rmSync(join(folder, "tmp"), { recursive: true });
      writeFileSync(join(folder, "tmp"), "");
    }
    if (bad === undefined) rmSync(config);
    else writeFileSync(config, bad);
    writeFileSync(join(source, "a"), "2");

    const second = await start(named, options);
    expect(await second.get("/livez")).toMatchObject({ status: 200 });
    expect(await second.get("/readyz")).toMatchObject({ status: 200 });
    const status = JSON.parse((await second.get("/status")).text) as Record<string, unknown>;
    expect(status).toMatchObject({ config: { error: expect.any(String) } });
    expect(status["mounts"]).toMatchObject([{ name: "site", files: 1 }]);
    expect((await second.get("/metrics")).text).toContain(
      "pannier_config_last_reload_successful 0\n",
    );
    expect(readFileSync(join(folder, "t/current/a"), "utf8")).toBe("1");
    writeFileSync(config, good);
    await eventually(() => expect(readFileSync(join(folder, "t/current/a"), "utf8")).toBe("2"));
    expect((await second.get("/metrics")).text).toContain(
      "pannier_config_last_reload_successful 1\n",
    );
    const { code, stderr } = await second.kill("SIGTERM");
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).toContain("what is published stays until the file is corrected");
  },
);

test("a configuration that cannot be read ends it with 2 where nothing is published yet", async () => {
  const folder = await workDirectory();
  writeFileSync(join(folder, "pannier.yaml"), "mounts: [{ target: t, sources: [x], periodd: 1s }]");
  const { code } = await runPannier(["run", "--http=127.0.0.1:0"], { cwd: folder });
  expect(code).toBe(2);
});

test("credentials that are rotated are taken over, and are told to nobody", async () => {
  const folder = await workDirectory();
  const password = join(folder, "password");
  writeFileSync(password, "0ld-pass");
  let wanted = "0ld-pass";
  let text = "1";
  const origin = await serve((request, response) => {
    const basic = `Basic ${Buffer.from(`ann:${wanted}`).toString("base64")}`;
    if (request.headers.authorization !== basic)
      return response.writeHead(401, { "www-authenticate": "Basic" }).end();
    return response.setHeader("etag", `"${text}"`).end(text);
  });
  const sidecar = await start({
    PANNIER_SOURCE: `${origin}/page.txt`,
    PANNIER_TARGET: join(folder, "t"),
    PANNIER_PERIOD: "100ms",
    PANNIER_USERNAME: "ann",
    PANNIER_PASSWORD_FILE: password,
  });
  await eventually(async () => expect(await sidecar.get("/readyz")).toMatchObject({ status: 200 }));
  wanted = "n3w-pass";
  text = "2";
  await eventually(async () =>
    expect(await sidecar.status()).toMatchObject({ error: { code: "auth" } }),
  );
  expect(await sidecar.get("/readyz")).toMatchObject({ status: 200 });
  expect(await sidecar.get("/livez")).toMatchObject({ status: 200 });
  writeFileSync(password, "n3w-pass");
  await eventually(() =>
    expect(readFileSync(join(folder, "t/current/page.txt"), "utf8")).toBe("2"),
  );
  const told = [await sidecar.get("/status"), await sidecar.get("/metrics")].map(
    ({ text: all }) => all,
  );
  const { stderr } = await sidecar.kill("SIGTERM");
  for (const all of [...told, stderr]) {
    expect(all).not.toContain("0ld-pass");
    expect(all).not.toContain("n3w-pass");
  }
});

const canMount = (() => {
  try {
    execFileSync("unshare", ["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], {
      stdio: "pipe",
    });
    return true;
  } catch {
    return false;
  }
})();

test.runIf(canMount)(
  "a volume that somebody else filled: what is published stays, and room is enough",
  async () => {
    const volume = join(await workDirectory(), "volume");
    mkdirSync(volume);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", volume]);
    onTestFinished(() => void execFileSync("umount", ["--lazy", volume]));
    let body = "1";
    const origin = await serve((_, response) =>
      response.setHeader("etag", `"${body.length}"`).end(body),
    );
    const target = join(volume, "t");
    const sidecar = await start({
      PANNIER_SOURCE: `${origin}/page.txt`,
      PANNIER_TARGET: target,
      PANNIER_PERIOD: "100ms",
    });
    await eventually(async () =>
      expect(await sidecar.get("/readyz")).toMatchObject({ status: 200 }),
    );
    execFileSync("sh", ["-c", `head -c 10000000 /dev/zero > ${volume}/filler || true`], {
      stdio: "pipe",
    });
    body = "x".repeat(500_000);
    await eventually(async () =>
      expect(await sidecar.status()).toMatchObject({ error: { code: "no-room" } }),
    );
    expect(readFileSync(join(target, "current/page.txt"), "utf8")).toBe("1");
    expect(await sidecar.get("/readyz")).toMatchObject({ status: 200 });
    expect((await sidecar.get("/metrics")).text).toMatch(
      /pannier_volume_free_bytes\{mount="t"\} \d{1,5}$/m,
    );
    execFileSync("rm", [join(volume, "filler")]);
    await eventually(async () =>
      expect(await sidecar.status()).toMatchObject({ error: null, bytes: 500_000 }),
    );
    expect((await sidecar.kill("SIGTERM")).code).toBe(0);
  },
);

const mount = (name: string, source: string) =>
  `  - { name: ${name}, target: ${name}, sources: [${source}] }\n`;

test.each([
  [
    "one mount of the environment, as with sync",
    { PANNIER_SOURCE: "./src\nshelf://top/", PANNIER_TARGET: "t" },
  ],
  ["mounts of a file that say nothing themselves", { PANNIER_CONFIG: "pannier.yaml" }],
])("an adapter of others by its name is for its own sources: %s", async (_, more) => {
  const folder = await workDirectory();
  mkdirSync(join(folder, "src"));
  writeFileSync(join(folder, "src/mine"), "1");
  writeFileSync(
    join(folder, "pannier.yaml"),
    `mounts:\n${mount("t", "./src, 'shelf://top/'")}${mount("other", "./src")}`,
  );
  const { ended } = startPannier(["run", "--once"], {
    cwd: folder,
    env: {
      PANNIER_ADAPTER: join(import.meta.dirname, "../../packages/cli/test/shelf-adapter.ts"),
      ...more,
    },
  });
  const { code, stderr } = await ended;
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(readdirSync(join(folder, "t/current"))).toEqual(["a.txt", "docs", "latest", "mine"]);
});

test("a job that SIGTERM cuts short has not done its work: 143", async () => {
  const target = join(await workDirectory(), "t");
  const { url, state } = await serveSlowly();
  state.stall = true;
  const env = { PANNIER_SOURCE: url, PANNIER_TARGET: target };
  const { child, ended } = startPannier(["run", "--once"], { env });
  await eventually(() => expect(state.stalled).toBeGreaterThan(0));
  child.kill("SIGTERM");
  const { code, stderr } = await ended;
  expect({ code, stderr }).toMatchObject({ code: 143 });
  expect(existsSync(join(target, "current"))).toBe(false);
});

test("a job: syncs once, opens no port, and ends with the code of what failed", async () => {
  const folder = await workDirectory();
  mkdirSync(join(folder, "src"));
  writeFileSync(join(folder, "src/a"), "1");
  writeFileSync(
    join(folder, "pannier.yaml"),
    `mounts:\n${mount("good", "./src")}${mount("bad", "./gone")}`,
  );
  const { ended } = startPannier(["run", "--once"], { cwd: folder });
  const { code, stderr } = await ended;
  expect({ code, stderr }).toMatchObject({ code: 4 });
  expect(readFileSync(join(folder, "good/current/a"), "utf8")).toBe("1");
  expect(stderr).not.toContain("listening");
});
