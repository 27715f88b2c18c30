/** The dashboard for Grafana, asked by Prometheus of a sidecar at work: each of its queries has an answer. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { freePort } from "../support/free-port.ts";
import { describeOutcome, startPannier } from "../support/pannier.ts";
import { end, until } from "./servers/process.ts";
import { prometheus, startPrometheus } from "./servers/prometheus.ts";

const DASHBOARD = fileURLToPath(new URL("../../deploy/grafana/pannier.json", import.meta.url));
const meta = { skipReason: "prometheus not installed: test/real/run installs what is missing" };

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string; readonly legendFormat?: string }[];
  }[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query?: unknown }[];
  };
}

interface Series {
  readonly metric: Readonly<Record<string, string>>;
}

/** A web server with a page that is another one each tenth time, and nothing else. */
async function startPages(): Promise<string> {
  let asked = 0;
  const server = createServer((request, response) => {
    if (request.url === "/page") response.end(`page ${Math.floor(++asked / 10)}`);
    else response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** One mount that changes all the time, one that always fails. */
async function startSidecar(directory: string): Promise<number> {
  const port = await freePort();
  const pages = await startPages();
  const mount = (name: string, url: string) => ({
    name,
    target: join(directory, name),
    sources: [url],
    period: "1s",
    hooks: { postPublish: { command: ["true"] } },
  });
  const config = {
    mounts: [mount("site", `${pages}/page`), mount("missing", `${pages}/missing`)],
    http: { host: "127.0.0.1", port },
  };
  await writeFile(join(directory, "pannier.yaml"), JSON.stringify(config));
  const { child, ended } = startPannier(["run"], { cwd: directory });
  onTestFinished(async () => {
    child.kill("SIGTERM");
    const outcome = await ended;
    expect(outcome.code, describeOutcome(outcome)).toBe(0);
  });
  return port;
}

/** Prometheus that looks at the sidecar all the time. */
async function scrape(directory: string, sidecar: number): Promise<string> {
  const config = {
    global: { scrape_interval: "500ms", scrape_timeout: "500ms" },
    scrape_configs: [
      {
        job_name: "pannier",
        static_configs: [{ targets: [`127.0.0.1:${sidecar}`], labels: { pod: "web-0" } }],
      },
    ],
  };
  await writeFile(join(directory, "prometheus.yaml"), JSON.stringify(config));
  const { child, address } = await startPrometheus(directory);
  onTestFinished(() => end(child));
  return `${address}/api/v1`;
}

/** As Grafana does: all jobs, all mounts, an interval of some scrapes. */
function filledIn(expression: string): string {
  return expression.replaceAll("$__rate_interval", "20s").replaceAll(/\$(?:job|mount)\b/g, ".+");
}

test.skipIf(prometheus === undefined)(
  "each query of the dashboard has an answer",
  { meta },
  async () => {
    const directory = await mkdtemp(join(tmpdir(), "pannier-grafana-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const api = await scrape(directory, await startSidecar(directory));
    const ask = async <Data>(path: string, query: Readonly<Record<string, string>> = {}) => {
      const response = await fetch(`${api}/${path}?${new URLSearchParams(query)}`);
      const { status, error, data } = (await response.json()) as {
        readonly status: string;
        readonly error?: string;
        readonly data: Data;
      };
      if (status !== "success") throw new Error(`${JSON.stringify(query)}: ${error}`);
      return data;
    };

    const dashboard = JSON.parse(readFileSync(DASHBOARD, "utf8")) as Dashboard;
    const targets = dashboard.panels.flatMap(({ title, targets: all = [] }) =>
      all.map(({ expr, legendFormat = "" }) => ({ title, legendFormat, query: filledIn(expr) })),
    );
    expect(targets.length).toBeGreaterThan(12);
    for (const { title, legendFormat, query } of targets) {
      expect(query, title).not.toContain("$");
      await until(`"${title}" (${query})`, async () => {
        const { result } = await ask<{ result: readonly Series[] }>("query", { query });
        // What the legend names has to be there.
        const labels = Array.from(legendFormat.matchAll(/\{\{(\w+)\}\}/g), ([, label]) => label);
        return (
          result.length > 0 &&
          result.every(({ metric }) => labels.every((label = "") => metric[label] !== undefined))
        );
      });
    }

    // What the variables offer.
    for (const { name, query } of dashboard.templating.list) {
      const text = typeof query === "string" ? query : "";
      const [, metric = "", label = ""] = /^label_values\((\w+), (\w+)\)$/.exec(text) ?? [];
      if (name === "datasource") continue;
      expect(metric, name).not.toBe("");
      const values = await ask<readonly string[]>(`label/${label}/values`, { "match[]": metric });
      expect(values).toEqual(name === "mount" ? ["missing", "site"] : ["pannier"]);
    }
    // And what they show is what happens here.
    const value = async (query: string) => {
      const { result } = await ask<{ result: readonly { value: readonly [number, string] }[] }>(
        "query",
        { query },
      );
      return Number(result[0]?.value[1]);
    };
    const failing = targets.find(({ title }) => title === "Mounts that fail")?.query ?? "";
    expect(await value(failing)).toBe(1);
  },
);
