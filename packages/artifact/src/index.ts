export { parseDestination, pushPublished, type PushResult } from "./push.ts";
export { openSigningKey } from "@pannier/signatures/sign";
