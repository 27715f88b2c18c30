/** The alerts of docs/operations.md, by Prometheus's own tool: alerts.yaml has what each of them has to do. */
import { execFileSync } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { blocks, page, section } from "../docs/pages.ts";
import { findProgram } from "./servers/process.ts";

const promtool = findProgram("promtool");
const meta = { skipReason: "promtool not installed: it comes with prometheus" };
const TRIALS = join(import.meta.dirname, "alerts.yaml");

interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly alert?: string }[] }[];
}

interface Trials {
  readonly tests: readonly { readonly alert_rule_test: readonly { alertname: string }[] }[];
}

test.skipIf(promtool === undefined)("the alerts fire, and only then", { meta }, async () => {
  const [rules = ""] = blocks(section(page("docs/operations.md").text, "### Alerts"), "yaml");
  const directory = await mkdtemp(join(tmpdir(), "pannier-alerts-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, "rules.yaml"), rules);
  await copyFile(TRIALS, join(directory, "trials.yaml"));
  for (const args of [
    ["check", "rules", "rules.yaml"],
    ["test", "rules", "trials.yaml"],
  ])
    execFileSync(promtool as string, args, { cwd: directory, stdio: "pipe" });

  const alerts = (parse(rules) as Rules).groups.flatMap(({ rules: all }) =>
    all.flatMap(({ alert }) => alert ?? []),
  );
  const tried = (parse(await readFile(TRIALS, "utf8")) as Trials).tests.flatMap((trial) =>
    trial.alert_rule_test.map(({ alertname }) => alertname),
  );
  expect([...new Set(tried)].toSorted()).toEqual(alerts.toSorted());
});
