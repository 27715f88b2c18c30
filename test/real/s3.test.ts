/** The s3 adapter against Versity's gateway and against rclone's server, directly and through the fault proxy. */
import { describeAdapter, type Harness } from "@pannier/adapter-kit";
import { s3Adapter } from "@pannier/adapter-s3";
import * as vitest from "vitest";
import { sdkServer } from "../../packages/adapter-s3/test/sdk-client.ts";
import { createStore } from "../../packages/adapter-s3/test/stores.ts";
import type { S3Server } from "./servers/s3.ts";
import { describeWith } from "./support.ts";

function conformance({ port, keys }: S3Server): void {
  vitest.beforeAll(() => {
    for (const name of ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]) {
      vitest.vi.stubEnv(name, undefined);
    }
    vitest.vi.stubEnv("AWS_SESSION_TOKEN", undefined);
    vitest.vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
    vitest.vi.stubEnv("AWS_ACCESS_KEY_ID", keys.id);
    vitest.vi.stubEnv("AWS_SECRET_ACCESS_KEY", keys.secret);
  });
  vitest.afterAll(() => void vitest.vi.unstubAllEnvs());

  const server = sdkServer(port, keys);
  const harness: Harness = {
    adapter: s3Adapter as never,
    traits: { symlinks: false, modes: "none", network: "http" },
    secrets: [keys.secret],
    failures: {
      auth: (store) => {
        const { url, ...rest } = store.source({});
        return { ...rest, url: url.replace("s3://", `s3://${keys.id}:another-secret-key@`) };
      },
      "not-found": (store) => ({ ...store.source({}), url: "s3://no-such-bucket/" }),
    },
    create: createStore(() => server, {}),
  };
  // More than one page, and a file of several parts.
  describeAdapter(vitest, harness, { manyFiles: 1100, largeFile: 24 << 20, timeout: 120_000 });
}

describeWith("versity", "S3 from versitygw", conformance);

describeWith("rclone", "S3 from rclone", conformance);
