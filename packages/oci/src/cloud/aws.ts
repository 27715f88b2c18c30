/** Elastic Container Registry: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html */
import { ECRClient, GetAuthorizationTokenCommand } from "@aws-sdk/client-ecr";
import { SourceError } from "@pannier/core/adapter";
import { awsHandler } from "@pannier/object-store";
import type { AskCloud } from "./cloud.ts";
import { signInError } from "./errors.ts";

/** Milliseconds before its end from which on a login is not used. */
const EARLY = 60_000;
const silent = () => {};

export const askAws: AskCloud = async ({ host, http }) => {
  const [, region = ""] = /ecr(?:-fips)?\.([a-z0-9-]+)\./.exec(host) ?? [];
  const client = new ECRClient({
    region,
    useFipsEndpoint: host.includes("ecr-fips."),
    maxAttempts: 1,
    requestHandler: awsHandler(http),
    // Without one it writes warnings on standard error.
    logger: { debug: silent, info: silent, warn: silent, error: silent },
  });
  try {
    const { authorizationData = [] } = await client.send(new GetAuthorizationTokenCommand({}));
    const [{ authorizationToken, expiresAt } = {}] = authorizationData;
    const text = Buffer.from(authorizationToken ?? "", "base64").toString();
    const [, username = "", password = ""] = /^([^:]+):(.+)$/s.exec(text) ?? [];
    if (password === "") throw new SourceError("invalid", "AWS gave no token for the registry");
    const until = (expiresAt?.getTime() ?? Date.now()) - EARLY;
    return { username, password, identityToken: undefined, from: "AWS's SDK", until };
  } catch (error) {
    if (/could not load credentials/i.test((error as Error).message)) return undefined;
    throw signInError(
      "AWS",
      error,
      "check the role or the keys: they need ecr:GetAuthorizationToken",
    );
  } finally {
    client.destroy();
  }
};
