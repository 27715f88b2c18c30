/** Whether a text is the name of an object, in full, and nothing else: it may go to a git process. Loaded by lanes, too. */
export function isOid(text: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}
