/** An adapter as others write them: one module, of no package, whose only file is `hello`. */
export const adapter = {
  name: "shelf",
  package: "pannier-adapter-shelf",
  description: "a shelf with one thing on it",
  schemes: ["shelf"],
  options: {},
  async open() {
    return {
      async probe() {},
      async list() {
        return {
          entries: [[{ kind: "file", path: "hello", size: 6, fingerprint: "1" }]],
          ordered: true,
        };
      },
      async read() {
        return new TextEncoder().encode("hello\n");
      },
      async close() {},
    };
  },
};
