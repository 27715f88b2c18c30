/** What a server can, as it says and as it turns out: what it refused once is not asked again, on no connection. */
import { refusalOf } from "./errors.ts";

/** `LIST-A` is `LIST -a`. */
type Way = "MLST" | "SIZE" | "MDTM" | "EPSV" | "REST" | "LIST-A";

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
      if (way === "EPSV" || way === "REST" || way === "LIST-A") return true;
      // Servers that are older than FEAT may know these two.
      return features.has(way) || (features.size === 0 && way !== "MLST");
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
