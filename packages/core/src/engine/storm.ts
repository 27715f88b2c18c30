/** Hints of sources come in storms: `kubectl apply` of a hundred objects, a build that writes a thousand files. One sync is enough. */

/** Milliseconds without a hint that end a storm. */
const QUIET_MS = 100;
/** Milliseconds after which a storm is answered even if it goes on. */
const LONGEST_MS = 5000;

export interface Storm {
  hint(): void;
  /** Forgets hints that were not passed on yet. */
  stop(): void;
}

/** @param pass called once for hints that come in a row, after the last of them */
export function gatherHints(pass: () => void): Storm {
  let timer: NodeJS.Timeout | undefined;
  let began = 0;
  let hints = 0;

  const isLong = () => performance.now() - began >= LONGEST_MS;

  /** Where the thread was busy, the timer is over before hints that came meanwhile are read: within two turns of the event loop. */
  function onQuiet(): void {
    const before = hints;
    setImmediate(() =>
      setImmediate(() => {
        if (timer === undefined || (hints !== before && !isLong())) return;
        stop();
        pass();
      }),
    );
  }

  function stop(): void {
    clearTimeout(timer);
    timer = undefined;
  }

  return {
    hint() {
      hints++;
      if (timer === undefined) {
        began = performance.now();
        timer = setTimeout(onQuiet, QUIET_MS);
      } else if (!isLong()) timer.refresh();
    },
    stop,
  };
}
