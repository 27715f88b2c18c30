import { join } from "node:path";

/**
 * Arguments of a Node that is to run the sources as they are. Node before 22.18 takes the types off only when told to,
 * and warns of that and of SQLite.
 */
export const FROM_SOURCES: readonly string[] = [
  "--conditions=pannier-source",
  "--experimental-strip-types",
  "--disable-warning=ExperimentalWarning",
];

/** Variables of such a Node: what one makes of the sources, the next need not make again. */
export const COMPILE_CACHE: Readonly<Record<string, string>> = {
  NODE_COMPILE_CACHE: join(import.meta.dirname, "../../node_modules/.cache/node"),
};

/** What a test was told of lanes, for a process that has not all of its variables. */
export function toldOfLanes(): Readonly<Record<string, string>> {
  const lanes = process.env["PANNIER_TEST_LANES"];
  return lanes === undefined ? {} : { PANNIER_TEST_LANES: lanes };
}
