/**
 * Callers in one turn of the event loop share one answer: however many ask at once, what is asked for is made once, and those that
 * ask for something else have their turn in between.
 */
export function oncePerTurn<Value>(make: () => Value): () => Value {
  let made: { readonly value: Value } | undefined;
  return () => {
    if (made === undefined) {
      made = { value: make() };
      setImmediate(() => {
        made = undefined;
      });
    }
    return made.value;
  };
}
