/** The least that a server has to send: an idle timeout alone is kept alive for ever by a byte now and then. */
import { SourceError } from "@pannier/core";

const MINUTE = 60_000;
/** Bytes a minute. A listing of one name has about as many. */
const LEAST = 1024;

/**
 * Makes the watch over one answer. What it returns is to be told of all that comes.
 *
 * @param least bytes a minute
 * @throws SourceError `unavailable`, not to be retried, where a minute brought less
 */
export function makeFloor(least = LEAST): (bytes: number) => void {
  let since = performance.now();
  let got = 0;
  return (bytes) => {
    got += bytes;
    const now = performance.now();
    if (now - since < MINUTE) return;
    if (got < least) {
      throw new SourceError("unavailable", `the server sent ${got} bytes in a minute`, {
        transient: false,
        hint: "what is that slow does not end",
      });
    }
    since = now;
    got = 0;
  };
}
