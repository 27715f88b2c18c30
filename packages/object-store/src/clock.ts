/** When a listing began: that tells which dates may be of just now. */
import { type HttpResponse, serverTime } from "@pannier/http-client";

interface ListingClock {
  /** Another listing begins. */
  restart(): void;
  /** It was answered. @returns when, by the server's clock, in milliseconds since the epoch */
  answered(response: Pick<HttpResponse, "headers">): number;
  /** When the last listing was answered first. */
  began(): number;
}

export function listingClock(): ListingClock {
  let began = Date.now();
  let running = false;
  return {
    restart: () => void (running = false),
    answered(response) {
      const now = serverTime(response);
      if (!running) began = now;
      running = true;
      return now;
    },
    began: () => began,
  };
}
