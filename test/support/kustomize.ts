/** What kustomize makes of a directory. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram } from "../real/servers/process.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const kubectl = findProgram("kubectl");
const kustomize = findProgram("kustomize");

/** Why nothing can be built. */
export const withoutKustomize: string | undefined =
  kubectl === undefined && kustomize === undefined
    ? "neither kubectl nor kustomize installed"
    : undefined;

const built = new Map<string, string>();

/** @param path of the checkout */
export function buildKustomization(path: string): string {
  const [program, args] =
    kubectl === undefined ? [kustomize as string, ["build"]] : [kubectl, ["kustomize"]];
  const text =
    built.get(path) ?? execFileSync(program, [...args, join(CHECKOUT, path)], { encoding: "utf8" });
  built.set(path, text);
  return text;
}
