import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { type S3Server, startS3Server } from "./s3-server.ts";
import { createStore } from "./stores.ts";
import { s3Adapter } from "../src/index.ts";

const ID = "AKIAEXAMPLEEXAMPLE00";
const SECRET = "a-secret-that-nobody/may+see";

vitest.describe.each([
  ["a bucket", {}],
  ["a bucket of versions", { versions: true }],
])("%s", (_name, options) => {
  let server: S3Server;

  vitest.beforeAll(async () => {
    // Nothing of this machine, and no metadata server.
    for (const name of [
      "AWS_PROFILE",
      "AWS_ENDPOINT_URL",
      "AWS_ENDPOINT_URL_S3",
      "AWS_SESSION_TOKEN",
    ]) {
      vitest.vi.stubEnv(name, undefined);
    }
    vitest.vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    vitest.vi.stubEnv("AWS_CONFIG_FILE", "/dev/null");
    vitest.vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    vitest.vi.stubEnv("AWS_ACCESS_KEY_ID", ID);
    vitest.vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
    server = await startS3Server();
    server.keys.set(ID, { secret: SECRET });
  });
  vitest.afterAll(async () => {
    await server.close();
    vitest.vi.unstubAllEnvs();
  });

  describeAdapter(
    vitest,
    {
      adapter: s3Adapter as never,
      traits: { symlinks: false, modes: "none", network: "http" },
      secrets: [SECRET],
      failures: {
        auth: (store) => {
          const { url, ...rest } = store.source({});
          return { ...rest, url: url.replace("s3://", "s3://KEY:wrong-secret@") };
        },
        "not-found": (store) => ({ ...store.source({}), url: "s3://no-such-bucket/" }),
      },
      create: createStore(() => server, { options }),
    },
    { largeFile: 16 << 20 },
  );
});
