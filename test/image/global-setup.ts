import type { TestProject } from "vitest/node";
import { type Images, prepareImages, removeImages } from "./images.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Or why there are none. */
    images: Images | string;
  }
}

/** Makes what all images are made from before the tests of this folder, and removes everything after the last one. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const images = await prepareImages();
  project.provide("images", images);
  return async () => {
    if (typeof images !== "string") await removeImages(images.directory);
  };
}
