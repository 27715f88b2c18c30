import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, inject, onTestFinished, test } from "vitest";
import type { Images } from "./images.ts";

const images = inject("images");

/** Of the image: a cluster forbids root. */
export const USER = 65532;

/** A suite that builds images and runs them; skipped by name where that is not possible. */
export function describeImage(title: string, suite: (images: Images) => void): void {
  if (typeof images !== "string") describe(title, () => suite(images));
  else test.skip(title, { meta: { skipReason: images } }, () => {});
}

export async function makeDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-image-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
