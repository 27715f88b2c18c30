import { UsageError } from "@pannier/core";
import { expect, test } from "vitest";
import {
  credentialsFromEnvironment,
  credentialVariables,
  mistypedVariables,
  oneSource,
  oneTarget,
  settingsFromEnvironment,
  sourcesAndTarget,
} from "./environment.ts";
import { FLAGS, type FlagName } from "./flags.ts";

const ALL = Object.keys(FLAGS) as FlagName[];

test("every flag has its variable, and the flag wins", () => {
  const env = {
    PANNIER_INCLUDE: "*.html\n\n img/** \n",
    PANNIER_MAX_BYTES: "10Mi",
    PANNIER_PERIOD: "1m30s",
    PANNIER_KEEP: "3",
    PANNIER_JSON: "true",
    PANNIER_ONCE: "0",
    PANNIER_OWNER: "1000:33",
    PANNIER_LINK: "",
  };
  expect(settingsFromEnvironment(env, ALL, { keep: 5 })).toEqual({
    include: ["*.html", "img/**"],
    maxBytes: 10_485_760,
    period: 90_000,
    json: true,
    once: false,
    owner: { uid: 1000, gid: 33 },
  });
});

test("a variable of a flag that the command does not have is left alone", () => {
  expect(settingsFromEnvironment({ PANNIER_KEEP: "nonsense" }, ["json"], {})).toEqual({});
});

test.each([
  ["PANNIER_KEEP", "two"],
  ["PANNIER_PERIOD", "60"],
  ["PANNIER_JSON", "maybe"],
  ["PANNIER_PUBLISH", "swop"],
])("a wrong %s is named", (name, value) => {
  expect(() => settingsFromEnvironment({ [name]: value }, ALL, {})).toThrow(
    expect.objectContaining({
      name: "UsageError",
      message: expect.stringContaining(name) as string,
    }),
  );
});

test("variables stand for the arguments that are absent", () => {
  const source = { PANNIER_SOURCE: "https://a/x\nfile:///b" };
  const target = { PANNIER_TARGET: "/t" };
  const both = { sources: ["https://a/x", "file:///b"], target: "/t" };
  expect(sourcesAndTarget({}, ["a", "b", "t"])).toEqual({ sources: ["a", "b"], target: "t" });
  expect(sourcesAndTarget({ ...source, ...target }, [])).toEqual(both);
  expect(sourcesAndTarget(source, ["/t"])).toEqual(both);
  expect(sourcesAndTarget(target, ["a"])).toEqual({ sources: ["a"], target: "/t" });
  expect(sourcesAndTarget({ ...source, ...target }, ["a", "b"])).toEqual({
    sources: ["a"],
    target: "b",
  });
  expect(() => sourcesAndTarget({}, [])).toThrow("no source");
  expect(() => sourcesAndTarget({}, ["a"])).toThrow("no target");
  expect(() => sourcesAndTarget(source, [])).toThrow("no target");
  expect(() => sourcesAndTarget({ ...source, ...target }, ["https://u:pw@h/"])).toThrow(
    '"https://***@h/" may be a source or a target',
  );
});

test("one source, one target", () => {
  expect(oneSource({ PANNIER_SOURCE: "a" }, undefined)).toBe("a");
  expect(oneSource({ PANNIER_SOURCE: "a\nb" }, "c")).toBe("c");
  expect(() => oneSource({ PANNIER_SOURCE: "a\nb" }, undefined)).toThrow(UsageError);
  expect(() => oneSource({}, undefined)).toThrow("no source");
  expect(oneTarget({ PANNIER_TARGET: "t" }, undefined)).toBe("t");
  expect(() => oneTarget({}, undefined)).toThrow("no target");
});

test("credentials name files, which are not read here", () => {
  const env = {
    PANNIER_USERNAME: "ann",
    PANNIER_PASSWORD_FILE: "secrets/password",
    PANNIER_CA_FILE: "/etc/ca.pem",
    PANNIER_TOKEN_FILE: "",
    PANNIER_GITHUB_APP_ID: "1",
    PANNIER_GITHUB_APP_INSTALLATION_ID: "2",
    PANNIER_GITHUB_APP_PRIVATE_KEY_FILE: "key.pem",
  };
  expect(credentialsFromEnvironment(env, "/srv")).toMatchObject({
    username: "ann",
    password: undefined,
    passwordFile: "/srv/secrets/password",
    caFile: "/etc/ca.pem",
    tokenFile: undefined,
    githubApp: { appId: "1", installationId: "2", privateKeyFile: "/srv/key.pem" },
  });
  expect(credentialVariables(env)).toEqual([
    "PANNIER_USERNAME",
    "PANNIER_PASSWORD_FILE",
    "PANNIER_CA_FILE",
    "PANNIER_GITHUB_APP_ID",
    "PANNIER_GITHUB_APP_INSTALLATION_ID",
    "PANNIER_GITHUB_APP_PRIVATE_KEY_FILE",
  ]);
});

test("credentials that contradict each other or are incomplete are refused", () => {
  expect(() =>
    credentialsFromEnvironment({ PANNIER_PASSWORD: "hunter22", PANNIER_PASSWORD_FILE: "f" }, "/"),
  ).toThrow("both set");
  expect(() => credentialsFromEnvironment({ PANNIER_GITHUB_APP_ID: "1" }, "/")).toThrow(
    "PANNIER_GITHUB_APP_INSTALLATION_ID and PANNIER_GITHUB_APP_PRIVATE_KEY_FILE",
  );
});

const mistyped = (...names: string[]) =>
  mistypedVariables(Object.fromEntries(names.map((name) => [name, "x"])));

test("a variable that is nearly one of ours is told, and none of somebody else's", () => {
  expect(mistyped("PANNIER_SORCE", "PANNIER_MAX_BYTE", "PANNIER_PASWORD_FILE")).toEqual([
    ["PANNIER_SORCE", "PANNIER_SOURCE"],
    ["PANNIER_MAX_BYTE", "PANNIER_MAX_BYTES"],
    ["PANNIER_PASWORD_FILE", "PANNIER_PASSWORD_FILE"],
  ]);
  expect(
    mistyped(
      // What Kubernetes sets for services named "pannier", "pannier-path" and "pannier-source".
      "PANNIER_SERVICE_HOST",
      "PANNIER_SERVICE_PORT",
      "PANNIER_SERVICE_PORT_HTTP",
      "PANNIER_PORT",
      "PANNIER_PORT_8080_TCP",
      "PANNIER_PORT_8080_TCP_PROTO",
      "PANNIER_PORT_8080_TCP_PORT",
      "PANNIER_PORT_8080_TCP_ADDR",
      "PANNIER_PATH_PORT",
      "PANNIER_SOURCE_SERVICE_HOST",
      // Ours, in and outside of hooks.
      "PANNIER_SOURCE",
      "PANNIER_LOG_LEVEL",
      "PANNIER_CONFIG",
      "PANNIER_PATH",
      "PANNIER_CHANGES",
      "PANNIER_GITHUB_APP_API_URL",
      // Like none.
      "PANNIER_IMAGE_TAG",
      "PANIER_SOURCE",
    ),
  ).toEqual([]);
  expect(mistypedVariables({ PANNIER_SORCE: "" })).toEqual([]);
});
