/**
 * Arguments of a Node that is to run the sources as they are. Node before 22.18 takes the types off only when told to,
 * and warns of that and of SQLite.
 */
export const FROM_SOURCES: readonly string[] = [
  "--conditions=pannier-source",
  "--experimental-strip-types",
  "--disable-warning=ExperimentalWarning",
];
