/** What lanes of stores share with their adapters. */
export { locate, type Root } from "./locate.ts";
export { encode, encodePath, pathBelow, queryOf } from "./url.ts";
