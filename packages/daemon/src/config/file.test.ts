import { expect, it } from "vitest";
import { parseConfig } from "./file.ts";
import { configJsonSchema } from "./schema.ts";

const parse = (text: string, env: Record<string, string> = {}) =>
  parseConfig(text, "/etc/pannier", { env });

it("reads the contract's example", () => {
  const config = parse(`
mounts:
  - name: site
    target: /content/site
    sources:
      - url: git+https://git.example.com/web/site.git?ref=main&path=public
      - url: s3://brand-assets/logos/
        into: img/logos            # placed below this directory
    period: 30s
    publish: swap
    keep: 3
    hooks:
      prePublish: { command: [./check, --strict], timeout: 30s }
      postPublish: { url: http://127.0.0.1:9000/-/reload, retries: 5 }
http: { port: 8080 }
`);
  expect(config.mounts).toEqual([
    {
      name: "site",
      sources: [
        { url: "git+https://git.example.com/web/site.git?ref=main&path=public" },
        { url: "s3://brand-assets/logos/", into: "img/logos" },
      ],
      options: {
        target: "/content/site",
        period: 30_000,
        timeout: 3_600_000,
        publish: "swap",
        keep: 3,
      },
      hooks: {
        prePublish: { command: ["./check", "--strict"], timeout: 30_000, env: {}, retry: 600_000 },
        postPublish: [
          {
            url: "http://127.0.0.1:9000/-/reload",
            method: "POST",
            headers: {},
            timeout: 10_000,
            retries: 5,
          },
        ],
      },
    },
  ]);
  expect(config.http).toMatchObject({ port: 8080, dashboard: true });
});

it("takes paths relative to the file, names a mount by its target, and a source by its URL alone", () => {
  const config = parse(`
mounts:
  - target: data/my site
    sources: [./content]
    credentials: { passwordFile: secrets/password, username: ann }
http: { triggerTokenFile: /run/token }
`);
  expect(config.mounts[0]).toMatchObject({
    name: "my-site",
    options: { target: "/etc/pannier/data/my site" },
    sources: [
      {
        url: "./content",
        credentials: { passwordFile: "/etc/pannier/secrets/password", username: "ann" },
      },
    ],
  });
  expect(config.http?.triggerTokenFile).toBe("/run/token");
});

it("takes scalars as they are written", () => {
  const config = parse(`
mounts: [{ target: /t, sources: [/s], mode: 0640, owner: 65532, maxDelete: 50%, maxBytes: 1Gi, verifyContent: true, name: 1.10 }]
`);
  expect(config.mounts[0]).toMatchObject({
    name: "1.10",
    options: {
      mode: 0o640,
      owner: { uid: 65_532, gid: 65_532 },
      maxDelete: "50%",
      maxBytes: 1024 ** 3,
      verifyContent: true,
    },
  });
});

it("puts variables into values, and nothing but values", () => {
  const config = parse(
    `mounts: [{ target: "/t/\${DIR}", sources: ["\${URL}", "$\${DIR}"] }]\nhttp: { port: "\${PORT}" }`,
    { DIR: "x, name: y", URL: "file:///a\n - b", PORT: "9090" },
  );
  expect(config.mounts[0]?.options.target).toBe("/t/x, name: y");
  expect(config.mounts[0]?.sources.map(({ url }) => url)).toEqual(["file:///a\n - b", "${DIR}"]);
  expect(config.http?.port).toBe(9090);
});

const MOUNT = "mounts:\n  - target: /t\n    sources: [/s]\n";

it.each([
  [
    `${MOUNT}    perido: 3s\n`,
    'line 4, column 5: unknown key "perido" in mounts[0]: did you mean "period"?',
  ],
  [
    `${MOUNT}    period: 3x\n`,
    'line 4, column 13: mounts[0].period: "3x" is not a duration (write it like 30s, 5m or 1h30m)',
  ],
  [
    `${MOUNT}    publish: swop\n`,
    "line 4, column 14: mounts[0].publish must be one of swap, mirror",
  ],
  [`${MOUNT}    keep: 0\n`, 'line 4, column 11: mounts[0].keep: "0" is not a whole number from 1'],
  [
    `${MOUNT}    hooks: { postPublish: { url: http://x/, retires: 3 } }\n`,
    'line 4, column 45: unknown key "retires" in mounts[0].hooks.postPublish: did you mean "retries"?',
  ],
  [
    `${MOUNT}    hooks: { postPublish: { url: ftp://x/ } }\n`,
    "line 4, column 34: mounts[0].hooks.postPublish.url: it is not an http or https URL",
  ],
  [
    `${MOUNT}    hooks: { postPublish: { signal: HOP, process: x } }\n`,
    "line 4, column 37: mounts[0].hooks.postPublish.signal: there is no such signal",
  ],
  [
    `${MOUNT}    hooks: { prePublish: { command: [] } }\n`,
    "line 4, column 37: mounts[0].hooks.prePublish.command is empty",
  ],
  [
    `${MOUNT}    name: a/b\n`,
    "line 4, column 11: mounts[0].name has the wrong form: letters, digits, and . _ - between them",
  ],
  [`${MOUNT}http: { port: 80800 }\n`, "line 4, column 15: http.port: 80800 is not a valid port"],
  [`${MOUNT}htpp: { port: 80 }\n`, 'line 4, column 1: unknown key "htpp": did you mean "http"?'],
  ["mounts:\n  - target: /t\n", "line 2, column 5: mounts[0].sources is missing"],
  [
    "mounts:\n  - target: /t\n    sources: x\n",
    "line 3, column 14: mounts[0].sources must be a list",
  ],
  [
    "mounts:\n  - target: /t\n    sources: [{ url: x, urll: y }]\n",
    'line 3, column 25: unknown key "urll" in mounts[0].sources[0]: did you mean "url"?',
  ],
  ["", "line 1, column 1: the file must be a mapping"],
  ["mounts: []\n", "line 1, column 9: mounts is empty"],
  [
    "mounts:\n  - target: [\n",
    "line 3, column 1: Flow sequence in block collection must be sufficiently indented and end with a ]",
  ],
  [
    `${MOUNT}  - target: /t\n    name: u\n    sources: [/s]\n`,
    "line 4, column 13: mounts[1].target is that of mounts[0]",
  ],
  [
    `${MOUNT}  - target: /u/t\n    sources: [/s]\n`,
    'line 4, column 5: mounts[1] is called "t", as mounts[0] is',
  ],
  [`${MOUNT}    link: \${NOT_THERE}\n`, 'line 4, column 11: the variable "NOT_THERE" is not set'],
])("refuses %j", (text, message) => {
  expect(() => parse(text)).toThrow(message);
});

it("has a description of each key, for editors", () => {
  interface Schema {
    readonly description?: string;
    readonly properties?: Readonly<Record<string, Schema>>;
    readonly items?: Schema;
    readonly anyOf?: readonly Schema[];
  }
  const undescribed = (schema: Schema, at: string): string[] => [
    ...Object.entries(schema.properties ?? {}).flatMap(([name, part]) => [
      ...(part.description === undefined ? [`${at}.${name}`] : []),
      ...undescribed(part, `${at}.${name}`),
    ]),
    ...(schema.items === undefined ? [] : undescribed(schema.items, `${at}[]`)),
    ...(schema.anyOf ?? []).flatMap((part) => undescribed(part, at)),
  ];
  const schema: Schema = configJsonSchema();
  expect(Object.keys(schema.properties ?? {})).toContain("mounts");
  expect(undescribed(schema, "")).toEqual([]);
});

it("tells all mistakes, unknown keys first", () => {
  const text = `mounts:
  - taget: /t
    sources: [/s]
    keep: 0
    perido: 1s
`;
  expect(() => parse(text)).toThrow(
    [
      'line 2, column 5: unknown key "taget" in mounts[0]: did you mean "target"?',
      'line 5, column 5: unknown key "perido" in mounts[0]: did you mean "period"?',
      "line 2, column 5: mounts[0].target is missing",
      'line 4, column 11: mounts[0].keep: "0" is not a whole number from 1',
    ].join("; "),
  );
});

it("does not unfold aliases without end", () => {
  const lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"];
  for (let level = 1; level < 8; level++)
    lines.push(
      `a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join()}]`,
    );
  expect(() => parse(lines.join("\n"))).toThrow(/alias/i);
});

it("takes signers and lock files as relative to the file, a lock file for each mount", () => {
  const text = `
mounts:
  - target: /a
    sources: [{ url: /s, signedBy: ["openpgp:keys/b.gpg"] }]
    signedBy: [ssh:keys/allowed, "ssh:/keys/allowed"]
    lock: a.lock
  - { target: /b, sources: [/s], lock: b.lock }
`;
  const { mounts } = parseConfig(text, "/etc/pannier", { env: {} });
  expect(mounts[0]).toMatchObject({
    sources: [{ signedBy: ["openpgp:/etc/pannier/keys/b.gpg"] }],
    options: {
      signedBy: ["ssh:/etc/pannier/keys/allowed", "ssh:/keys/allowed"],
      lock: "/etc/pannier/a.lock",
    },
  });
  expect(() =>
    parseConfig(text.replace("b.lock", "./a.lock"), "/etc/pannier", { env: {} }),
  ).toThrow("mounts[1].lock is that of mounts[0]");
});
