/** docs/use-cases: the configuration that each page begins with, with other addresses, and what the page says of it. */
import { readdirSync } from "node:fs";
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import tar from "tar-stream";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { sdkServer } from "../../packages/adapter-s3/test/sdk-client.ts";
import { blocks, page, ROOT } from "../docs/pages.ts";
import { makeRepository } from "../support/git-server.ts";
import { startPannier } from "../support/pannier.ts";
import { kube } from "./servers/kube.ts";
import { end, findProgram, listening, run, until } from "./servers/process.ts";
import { describeWith } from "./support.ts";

interface Mount {
  target: string;
  sources: string[];
  period?: string;
  hooks?: { postPublish?: { url: string } };
}

/** Those of `examples` are tried by tests of their own. */
const TRIED = ["airflow", "gitrepo-volumes", "grafana", "model-servers", "opa", "rclone"];
const ELSEWHERE = { prometheus: "prometheus-rules.test.ts", "static-sites": "static-site.test.ts" };

test("each page has a configuration, and each is tried", () => {
  const names = readdirSync(join(ROOT, "docs/use-cases")).map((name) => name.replace(".md", ""));
  expect(names.toSorted()).toEqual([...TRIED, ...Object.keys(ELSEWHERE)].toSorted());
  for (const name of names) expect(mountOf(name).target).toMatch(/^\/content\//);
});

function mountOf(name: string): Mount {
  const [text = ""] = blocks(page(`docs/use-cases/${name}.md`).text, "yaml use-case");
  const [mount] = (parse(text) as { mounts: Mount[] }).mounts;
  if (mount === undefined) throw new Error(`${name}.md has no configuration`);
  return mount;
}

/** Runs what a page has, with other sources. */
async function follow(
  name: string,
  sources: readonly string[],
  env: Readonly<Record<string, string>> = {},
) {
  const directory = await mkdtemp(join(tmpdir(), "pannier-use-case-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const mount = mountOf(name);
  expect(sources).toHaveLength(mount.sources.length);
  mount.target = join(directory, "content");
  mount.sources = [...sources];
  mount.period = "500ms";
  const config = { mounts: [mount], http: { enabled: false } };
  await writeFile(join(directory, "pannier.yaml"), JSON.stringify(config));
  const sidecar = startPannier(["run"], { cwd: directory, env });
  onTestFinished(async () => {
    sidecar.child.kill("SIGTERM");
    expect((await sidecar.ended).code).toBe(0);
  });
  let log = "";
  sidecar.child.stderr?.on("data", (said: string) => (log += said));
  return {
    target: mount.target,
    log: () => log,
    read: (file: string) =>
      readFile(join(mount.target, file), "utf8").catch(() => undefined as string | undefined),
  };
}

/** A bundle of one rule. */
async function bundleOf(value: string): Promise<Buffer> {
  const pack = tar.pack();
  pack.entry({ name: "web/rule.rego" }, `package web\n\nallow := ${value}\n`);
  pack.finalize();
  return gzipSync(await buffer(pack));
}

describeWith("git", "a use case of git", (git) => {
  const python = findProgram("python3");

  test.skipIf(python === undefined)(
    "airflow: a commit appears as a whole, and one that Python cannot parse never",
    { meta: { skipReason: "python3 not installed" } },
    async () => {
      const repository = await makeRepository(join(git.root, "dags.git"));
      await repository.commit({
        "dags/etl.py": "from team import one\n",
        "dags/team.py": "one = 1\n",
      });
      const seen = await follow("airflow", [`${git.url}/dags.git?ref=main&path=dags`]);
      await until("the DAGs", async () => (await seen.read("current/etl.py")) !== undefined);
      await repository.commit({ "dags/team.py": "one = (\n" });
      await until("the refusal", async () => seen.log().includes("SyntaxError"));
      expect(await seen.read("current/team.py")).toBe("one = 1\n");
      await repository.commit({ "dags/etl.py": "import team\n", "dags/team.py": "two = 2\n" });
      await until(
        "the correction",
        async () => (await seen.read("current/team.py")) === "two = 2\n",
      );
      expect(await seen.read("current/etl.py")).toBe("import team\n");
    },
  );

  test("gitrepo-volumes: the branch is followed", async () => {
    const repository = await makeRepository(join(git.root, "volume.git"));
    await repository.commit({ "index.html": "one" });
    const seen = await follow("gitrepo-volumes", [`${git.url}/volume.git?ref=main`]);
    await until("the files", async () => (await seen.read("current/index.html")) === "one");
    await repository.commit({ "index.html": "two" });
    await until("the change", async () => (await seen.read("current/index.html")) === "two");
    expect(await readdir(join(seen.target, "current"))).toEqual(["index.html"]);
  });
});

describeWith("kube", "a use case of Kubernetes", (server) => {
  test("grafana: labelled ConfigMaps lie over a directory", async () => {
    const base = await mkdtemp(join(tmpdir(), "pannier-dashboards-"));
    onTestFinished(() => rm(base, { recursive: true }));
    await writeFile(join(base, "web.json"), "of git");
    await writeFile(join(base, "db.json"), "of git");
    await kube(server, "POST", "/api/v1/namespaces", { metadata: { name: "use-case" } });
    const maps = "/api/v1/namespaces/use-case/configmaps";
    const labels = { grafana_dashboard: "1" };
    await kube(server, "POST", maps, {
      metadata: { name: "web", labels },
      data: { "web.json": "of a team" },
    });
    await kube(server, "POST", maps, { metadata: { name: "other" }, data: { "other.json": "x" } });
    const selector = mountOf("grafana").sources[1]?.replace("monitoring", "use-case");
    const seen = await follow("grafana", [`file://${base}`, selector ?? ""], {
      KUBECONFIG: server.kubeconfig,
    });
    await until("the layers", async () => (await seen.read("current/web.json")) === "of a team");
    expect(await readdir(join(seen.target, "current"))).toEqual(["db.json", "web.json"]);
    const annotations = { "pannier.dev/folder": "team" };
    await kube(server, "POST", maps, {
      metadata: { name: "new", labels, annotations },
      data: { "new.json": "new" },
    });
    await until("a new one", async () => (await seen.read("current/team/new.json")) === "new");
    await kube(server, "DELETE", `${maps}/web`);
    await until("what is below", async () => (await seen.read("current/web.json")) === "of git");
  });
});

describeWith("versity", "a use case of a bucket", ({ port, keys }) => {
  const here = `endpoint=http://127.0.0.1:${port}&region=us-east-1`;
  const opa = findProgram("opa");
  const env = {
    AWS_ACCESS_KEY_ID: keys.id,
    AWS_SECRET_ACCESS_KEY: keys.secret,
    AWS_EC2_METADATA_DISABLED: "true",
  };

  test.skipIf(opa === undefined)(
    "opa: a bundle is loaded as it is replaced, and one that does not compile is not",
    { meta: { skipReason: "opa not installed: test/real/run builds it" } },
    async () => {
      const bucket = sdkServer(port, keys);
      await bucket.createBucket("policies");
      const put = async (value: string) => {
        const content = await bundleOf(value);
        await bucket.put("policies", "opa/bundle.tar.gz", content);
        return content;
      };
      const first = await put('"one"');
      const seen = await follow("opa", [`s3://policies/opa/?${here}`], env);
      const bundle = join(seen.target, "bundle.tar.gz");
      const shows = (content: Buffer) =>
        readFile(bundle).then(
          (found) => content.equals(found),
          () => false,
        );
      await until("the file", () => shows(first));
      const [command = ""] = blocks(page("docs/use-cases/opa.md").text, "sh");
      const args = command.trim().replace("/content/policies/bundle.tar.gz", bundle).split(" ");
      const { child, ports } = await listening("opa", 1, async ([at]) =>
        run(opa as string, [...args.slice(1), "--skip-version-check", `--addr=127.0.0.1:${at}`], {
          quiet: true,
        }),
      );
      onTestFinished(() => end(child));
      const decision = async () => {
        const response = await fetch(`http://127.0.0.1:${ports[0]}/v1/data/web/allow`);
        return ((await response.json()) as { result?: string }).result;
      };
      await until("the first bundle", async () => (await decision()) === "one");
      const broken = await put("undefined_name(");
      await until("the broken bundle", () => shows(broken));
      expect(await decision()).toBe("one");
      await put('"two"');
      await until("the second bundle", async () => (await decision()) !== "one");
      expect(await decision()).toBe("two");
    },
  );

  test("model-servers: a poll of Triton sees what changed, and nothing else", async () => {
    const bucket = sdkServer(port, keys);
    await bucket.createBucket("triton");
    for (const model of ["resnet", "bert"]) {
      await bucket.put("triton", `${model}/config.pbtxt`, Buffer.from("x"));
      await bucket.put("triton", `${model}/1/model.onnx`, Buffer.from("one"));
    }
    const seen = await follow("model-servers", [`s3://triton/?${here}`], env);
    await until("the models", async () => (await seen.read("bert/1/model.onnx")) === "one");
    const before = {
      resnet: await triton(join(seen.target, "resnet")),
      bert: await triton(join(seen.target, "bert")),
    };
    await bucket.put("triton", "resnet/2/model.onnx", Buffer.from("two"));
    await until("the version", async () => (await seen.read("resnet/2/model.onnx")) === "two");
    expect(await triton(join(seen.target, "resnet"))).toBeGreaterThan(before.resnet);
    expect(await triton(join(seen.target, "bert"))).toBe(before.bert);
  });
});

/** The time by which Triton decides, as GetPathModifiedTime of its model_repository_manager.cc has it: the latest of all. */
async function triton(path: string): Promise<number> {
  const { mtimeMs } = await stat(path);
  if (!(await lstat(path)).isDirectory()) return mtimeMs;
  const names = await readdir(path);
  const times = await Promise.all(names.map((name) => triton(join(path, name))));
  return Math.max(mtimeMs, ...times);
}

const rclone = findProgram("rclone");

test.skipIf(rclone === undefined)(
  "rclone: a remote is followed by WebDAV",
  { meta: { skipReason: "rclone not installed: test/real/run builds it" } },
  async () => {
    const remote = await mkdtemp(join(tmpdir(), "pannier-remote-"));
    onTestFinished(() => rm(remote, { recursive: true }));
    await mkdir(join(remote, "img"));
    await writeFile(join(remote, "index.html"), "one");
    await writeFile(join(remote, "img/logo.svg"), "<svg/>");
    const [command = ""] = blocks(page("docs/use-cases/rclone.md").text, "sh");
    const { child, ports } = await listening("rclone serve webdav", 1, async ([port]) => {
      const args = command
        .trim()
        .replace("dropbox:site", remote)
        .replace(/--addr \S+/, `--addr 127.0.0.1:${port}`)
        .split(" ")
        .slice(1);
      return run(rclone as string, [...args, "--config=", "--dir-cache-time=100ms"], {
        quiet: true,
      });
    });
    onTestFinished(() => end(child));
    const seen = await follow("rclone", [`dav://127.0.0.1:${ports[0]}/`]);
    await until("the remote", async () => (await seen.read("current/index.html")) === "one");
    expect(await seen.read("current/img/logo.svg")).toBe("<svg/>");
    await writeFile(join(remote, "index.html"), "another");
    await until("the change", async () => (await seen.read("current/index.html")) === "another");
  },
);
