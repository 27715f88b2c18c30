/** Writes the manual page of the program beside what was built of it. */
import { readFileSync, writeFileSync } from "node:fs";
import { manualPage } from "../packages/cli/src/manual.ts";

const cli = new URL("../packages/cli/", import.meta.url);
const { version } = JSON.parse(readFileSync(new URL("package.json", cli), "utf8")) as {
  version: string;
};
writeFileSync(new URL("dist/pannier.1", cli), manualPage(version));
