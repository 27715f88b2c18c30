/** Each page of docs/use-cases begins with a configuration, and Pannier takes it. test/real/use-cases.test.ts runs them. */
import { EventEmitter } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { kubeconfigFor } from "../../packages/adapter-k8s/test/stores.ts";
import { main } from "../../packages/cli/src/main.ts";
import { blocks, page, ROOT } from "./pages.ts";

test.each(readdirSync(join(ROOT, "docs/use-cases")))(
  "the configuration of %s is valid",
  async (name) => {
    const found = blocks(page(`docs/use-cases/${name}`).text, "yaml use-case");
    expect(found).toHaveLength(1);
    const directory = mkdtempSync(join(tmpdir(), "pannier-use-case-"));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    writeFileSync(join(directory, "pannier.yaml"), found.join(""));
    // A k8s:// source has to know a cluster. Nobody asks it.
    vi.stubEnv("KUBECONFIG", kubeconfigFor(1, { token: "a-token" }));
    onTestFinished(() => void vi.unstubAllEnvs());
    let said = "";
    const output = { write: (text: string) => Boolean((said += text)), once: () => {} };
    const code = await main(["validate", "--config", "pannier.yaml"], {
      env: {},
      cwd: directory,
      stdout: output,
      stderr: output,
      signals: new EventEmitter(),
    });
    expect({ code, said }).toEqual({ code: 0, said: "pannier.yaml is valid: 1 mount\n" });
  },
);
