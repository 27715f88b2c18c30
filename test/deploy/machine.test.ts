/** The dashboard for Grafana, and the unit for systemd. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startPannier } from "../support/pannier.ts";
import { freePort } from "../support/free-port.ts";
import { findProgram } from "../real/servers/process.ts";

const DEPLOY = join(import.meta.dirname, "../../deploy");

test("every metric that the dashboard asks for is exported", async () => {
  const directory = mkdtempSync(join(tmpdir(), "pannier-grafana-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "page"), "hello");
  const port = await freePort();
  const config = {
    mounts: [
      { name: "site", target: join(directory, "target"), sources: [join(directory, "page")] },
    ],
    http: { host: "127.0.0.1", port },
  };
  writeFileSync(join(directory, "pannier.yaml"), JSON.stringify(config));
  const { child, ended } = startPannier(["run"], { cwd: directory });
  onTestFinished(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  const address = `http://127.0.0.1:${port}`;
  const ready = () =>
    fetch(`${address}/readyz`).then(
      ({ status }) => status,
      () => 0,
    );
  await expect.poll(ready).toBe(200);
  const text = await (await fetch(`${address}/metrics`)).text();
  const exported = Array.from(text.matchAll(/^# TYPE (\S+)/gm), ([, name = ""]) => name);

  const dashboard = readFileSync(join(DEPLOY, "grafana/pannier.json"), "utf8");
  const asked = new Set(
    Array.from(dashboard.matchAll(/\bpannier_[a-z_]+/g), ([name]) =>
      name.replace(/_(bucket|sum|count)$/, ""),
    ),
  );
  expect(asked.size).toBeGreaterThan(12);
  for (const name of asked) expect(exported, name).toContain(name);
});

const analyze = findProgram("systemd-analyze");
const meta = { skipReason: "systemd-analyze not installed" };

function verify(path: string) {
  const { status, stderr } = spawnSync(analyze as string, ["verify", "--man=no", path], {
    encoding: "utf8",
  });
  return { status, lines: stderr.split("\n").filter((line) => line.includes("pannier.service")) };
}

test.skipIf(analyze === undefined)("systemd takes the unit", { meta }, () => {
  const unit = join(DEPLOY, "systemd/pannier.service");
  expect(verify(unit)).toEqual({ status: 0, lines: [] });
  const directory = mkdtempSync(join(tmpdir(), "pannier-unit-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const wrong = join(directory, "pannier.service");
  writeFileSync(wrong, readFileSync(unit, "utf8").replace("ProtectSystem=", "ProtectSystems="));
  expect(verify(wrong).lines).toHaveLength(1);
});
