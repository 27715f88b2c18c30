/** Helm, with directories of its own: nothing of the user's is read or written. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { findProgram } from "../real/servers/process.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const program = findProgram("helm");

/** Why nothing can be rendered. */
export const withoutHelm: string | undefined =
  program === undefined ? "helm not installed: test/real/run builds it" : undefined;

export interface Rendered {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
  /** Of a role. */
  readonly rules?: unknown;
  readonly data?: Readonly<Record<string, string>>;
}

/** Runs `helm ARGS --values -` in the checkout. @throws Error with what it said, if it fails */
export function helm(args: readonly string[], values: unknown = {}): string {
  const home = mkdtempSync(join(tmpdir(), "pannier-helm-"));
  try {
    const { status, stdout, stderr } = spawnSync(program as string, [...args, "--values", "-"], {
      cwd: CHECKOUT,
      encoding: "utf8",
      input: JSON.stringify(values),
      maxBuffer: 64 * 1024 * 1024,
      env: { PATH: process.env["PATH"], HOME: home },
    });
    if (status !== 0) throw new Error(`helm ${args.join(" ")}: ${stderr}${stdout}`);
    return stdout;
  } finally {
    rmSync(home, { recursive: true });
  }
}

/** What `helm template` makes of a chart of the checkout, in the namespace `team`. */
export function renderChart(
  chart: string,
  values: unknown,
  ...args: readonly string[]
): readonly Rendered[] {
  const text = helm(["template", "pannier", chart, "--namespace", "team", ...args], values);
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Rendered | null)
    .filter((document) => document !== null);
}
