export { parseDestination, pushPublished, type PushResult } from "./push.ts";
