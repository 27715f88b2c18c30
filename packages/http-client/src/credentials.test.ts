import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeAuthorize, type SignIn } from "./credentials.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-credentials-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}

const line = (...fields: string[]) => fields.join("\t");

/** The headers for a URL, with Basic taken apart. */
async function headersFor(signIn: Partial<SignIn>, url = "https://host.example/x") {
  const authorize = makeAuthorize({
    origin: "https://host.example",
    credentials: {},
    env: {},
    ...signIn,
  });
  const headers = await authorize(new URL(url));
  const basic = /^Basic (.*)$/.exec(headers["authorization"] ?? "")?.[1];
  return basic === undefined
    ? headers
    : { ...headers, authorization: Buffer.from(basic, "base64").toString() };
}

test("signs in with what the URL says, and only there", async () => {
  const signIn = { username: "me", password: "pässword" };
  expect(await headersFor(signIn)).toEqual({ authorization: "me:pässword" });
  for (const url of ["https://host.example:444/", "http://host.example/", "https://other/"]) {
    expect(await headersFor(signIn, url)).toEqual({});
  }
});

test("reads password and token files again each time", async () => {
  const passwordFile = await file("password", "old\n");
  const authorize = makeAuthorize({
    origin: "https://h",
    credentials: { username: "me", passwordFile },
    env: {},
  });
  const before = await authorize(new URL("https://h/"));
  await file("password", "new\n");
  const after = await authorize(new URL("https://h/"));
  expect(before).toEqual({ authorization: `Basic ${btoa("me:old")}` });
  expect(after).toEqual({ authorization: `Basic ${btoa("me:new")}` });
});

test("sends a token as Bearer, or as the password of a user", async () => {
  const tokenFile = await file("token", "abc.def\n");
  expect(await headersFor({ credentials: { tokenFile } })).toEqual({
    authorization: "Bearer abc.def",
  });
  expect(await headersFor({ credentials: { tokenFile, username: "x" } })).toEqual({
    authorization: "x:abc.def",
  });
  await file("token", "two\nlines\n");
  await expect(headersFor({ credentials: { tokenFile } })).rejects.toThrow("holds no token");
});

test("names a secret's file that cannot be read", async () => {
  const passwordFile = join(folder, "none");
  await expect(headersFor({ credentials: { passwordFile } })).rejects.toThrow(
    `the password file ${passwordFile} cannot be read (ENOENT)`,
  );
});

test("reads .netrc: the host's entry before our variables, its default after them", async () => {
  const NETRC = await file(
    "netrc",
    `# who we are
machine host.example # inline
  login "me too" password "a\\"b c"
macdef init
machine trap login x password y

machine other.example login o password #p account z
default login anyone password guest
`,
  );
  const env = { NETRC };
  const credentials = { username: "ours", password: "1" };
  expect(await headersFor({ env, credentials })).toEqual({ authorization: 'me too:a"b c' });
  expect(await headersFor({ env, credentials }, "https://other.example/")).toEqual({
    authorization: "o:#p",
  });
  const trap = { env, origin: "https://trap" };
  expect(await headersFor({ ...trap, credentials }, "https://trap/")).toEqual({
    authorization: "ours:1",
  });
  expect(await headersFor(trap, "https://trap/")).toEqual({ authorization: "anyone:guest" });
  // Not even the default entry is for hosts that the user did not name.
  expect(await headersFor(trap, "https://elsewhere/")).toEqual({});
});

test("finds the .netrc entry of the user in the URL", async () => {
  const NETRC = await file("netrc", "machine h login a password 1 machine h login b password 2");
  const signIn = { env: { NETRC }, origin: "https://h", username: "b" };
  expect(await headersFor(signIn, "https://h/")).toEqual({ authorization: "b:2" });
});

test("finds .netrc in the home, and does without one", async () => {
  await file(".netrc", "machine host.example login home password 1");
  expect(await headersFor({ env: { HOME: folder } })).toEqual({ authorization: "home:1" });
  expect(await headersFor({ env: { HOME: join(folder, "none") } })).toEqual({});
});

test("sends the cookies that a cookie file has for the URL", async () => {
  const cookieFile = await file(
    "cookies",
    [
      "# Netscape HTTP Cookie File",
      line("host.example", "FALSE", "/", "TRUE", "0", "session", "1"),
      line("#HttpOnly_.host.example", "TRUE", "/deep", "FALSE", "99999999999", "deep", "2"),
      line(".example", "TRUE", "/", "FALSE", "0", "wide", "3"),
      line("host.example", "FALSE", "/", "FALSE", "1", "expired", "4"),
      line("ost.example", "TRUE", "/", "FALSE", "0", "other", "5"),
      line("host.example", "FALSE", "/", "FALSE", "0", "evil", "6; x=7"),
    ].join("\r\n"),
  );
  const cookies = async (url: string) =>
    (await headersFor({ credentials: { cookieFile } }, url))["cookie" as never];
  expect(await cookies("https://host.example/x")).toBe("session=1; wide=3");
  expect(await cookies("https://host.example/deep/x")).toBe("session=1; deep=2; wide=3");
  expect(await cookies("https://host.example/deeper")).toBe("session=1; wide=3");
  expect(await cookies("http://host.example/")).toBe("wide=3");
  expect(await cookies("https://elsewhere/")).toBeUndefined();
});
