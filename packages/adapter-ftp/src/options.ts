/** Options in the URL's query. */
import { type Location, type OptionSpecs, UsageError } from "@pannier/core/adapter";

export const ftpOptions = {
  tls: {
    type: "enum",
    values: ["off", "explicit", "implicit"],
    description: "encryption of the connection; default: implicit for ftps://, off for ftp://",
  },
} as const satisfies OptionSpecs;

export type Tls = "off" | "explicit" | "implicit";

/** @throws UsageError where ftps would not be encrypted */
export function tlsOf(scheme: Location["scheme"], tls: string | undefined): Tls {
  if (scheme !== "ftps") return (tls ?? "off") as Tls;
  if (tls === "off") throw new UsageError("ftps is encrypted: tls=off contradicts it");
  return (tls ?? "implicit") as Tls;
}
