/** What a server can, as it says and as it turns out: what it refused once is not asked again, on no connection. */
import { refusalOf } from "./errors.ts";

/** `LIST-A` is `LIST -a`; `AT-ONCE` is several commands before the first is answered. */
type Way = "UTF8" | "MLST" | "SIZE" | "MDTM" | "EPSV" | "REST" | "LIST-A" | "AT-ONCE";

/** What FEAT does not tell, and most servers can. */
const ASSUMED: ReadonlySet<Way> = new Set(["EPSV", "REST", "LIST-A", "AT-ONCE"]);

export interface Ways {
  can(way: Way): boolean;
  refuse(way: Way): void;
  /** Takes in the answer to FEAT; empty where the server does not know that command. */
  learn(features: ReadonlySet<string>): void;
}

export function createWays(): Ways {
  const refused = new Set<Way>();
  let features: ReadonlySet<string> = new Set();
  return {
    can(way) {
      if (refused.has(way)) return false;
      if (ASSUMED.has(way)) return true;
      // Servers that are older than FEAT may know these two.
      return features.has(way) || (features.size === 0 && way !== "MLST" && way !== "UTF8");
    },
    refuse: (way) => void refused.add(way),
    learn(names) {
      features = names;
    },
  };
}

/** Whether a server says that it does not know a command, or not for anybody: RFC 959, 4.2.1. */
export function isUnknown(error: unknown): boolean {
  return [500, 502, 504].includes(refusalOf(error)?.code ?? 0);
}
