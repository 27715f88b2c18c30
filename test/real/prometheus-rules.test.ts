/** examples/prometheus-rules: its own configurations, with other addresses, of Prometheus and of Pannier. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { makeRepository } from "../support/git-server.ts";
import { startPannier } from "../support/pannier.ts";
import { end, until } from "./servers/process.ts";
import { prometheus, startPrometheus } from "./servers/prometheus.ts";
import { describeWith } from "./support.ts";

const EXAMPLE = fileURLToPath(new URL("../../examples/prometheus-rules", import.meta.url));
const meta = { skipReason: "prometheus not installed: test/real/run installs what is missing" };

const rule = (name: string, expression = "vector(1)") =>
  `groups: [{ name: test, rules: [{ record: ${name}, expr: '${expression}' }] }]\n`;

describeWith("git", "rules of Prometheus", (git) => {
  test.skipIf(prometheus === undefined)(
    "are checked, published and reloaded",
    { meta },
    async () => {
      const directory = await mkdtemp(join(tmpdir(), "pannier-rules-"));
      onTestFinished(() => rm(directory, { recursive: true }));
      const repository = await makeRepository(join(git.root, "alerts.git"));
      await repository.commit({ "rules/test.yaml": rule("one") });

      const text = await readFile(join(EXAMPLE, "prometheus.yaml"), "utf8");
      await writeFile(join(directory, "prometheus.yaml"), text.replace("/rules", directory));
      const { child, address } = await startPrometheus(directory, ["--web.enable-lifecycle"]);
      onTestFinished(() => end(child));

      const config = parse(await readFile(join(EXAMPLE, "pannier.yaml"), "utf8"));
      const [mount] = config.mounts;
      mount.target = directory;
      mount.sources[0].url = `${git.url}/alerts.git?path=rules`;
      mount.period = "500ms";
      mount.hooks.postPublish.url = `${address}/-/reload`;
      config.http = { enabled: false };
      await writeFile(join(directory, "pannier.yaml"), JSON.stringify(config));
      const sidecar = startPannier(["run"], { cwd: directory });
      onTestFinished(async () => {
        sidecar.child.kill("SIGTERM");
        expect((await sidecar.ended).code).toBe(0);
      });
      let log = "";
      sidecar.child.stderr?.on("data", (said: string) => (log += said));

      const loaded = async () => {
        const response = await fetch(`${address}/api/v1/rules`);
        const { data } = (await response.json()) as {
          data: { groups: { rules: { name: string }[] }[] };
        };
        return data.groups.flatMap(({ rules }) => rules.map(({ name }) => name)).join();
      };
      await until("the first rule", async () => (await loaded()) === "one");
      await repository.commit({ "rules/test.yaml": rule("two") });
      await until("the second rule", async () => (await loaded()) === "two");
      await repository.commit({ "rules/test.yaml": rule("three", "vector(") });
      await until("the refusal", async () => log.includes("pre-publish"));
      expect(await loaded()).toBe("two");
      expect(await readFile(join(directory, "current/test.yaml"), "utf8")).toBe(rule("two"));
    },
  );
});
