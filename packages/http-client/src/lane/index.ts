/** What adapters need in the thread of a lane. Loads nothing else: neither undici nor the engine. */
export { rangeHeaders, rangeMismatch } from "../parts.ts";
export { ifMatchHeaders, sameVersion } from "../conditional.ts";
export { ifMatch, isTimeFingerprint, versionMismatch } from "../validators.ts";
export type { Head } from "./head.ts";
export type { LaneTarget } from "./connection.ts";
export { type HttpLane, type LaneRequest, openHttpLane } from "./lane.ts";
