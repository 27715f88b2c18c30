import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "./errors.ts";
import { decodedPath, type Location, parseLocation, redact } from "./location.ts";

/** What a call throws, or `undefined`. */
function failureOf(call: () => unknown): unknown {
  try {
    call();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe("parseLocation", () => {
  test("takes a URL apart", () => {
    expect(
      parseLocation("GIT+HTTPS://ann:p%40ss@Host.example:8443/org/re%20po.git?ref=main&path=a%2Fb"),
    ).toEqual({
      scheme: "git+https",
      host: "Host.example",
      port: 8443,
      pathname: "/org/re%20po.git",
      username: "ann",
      password: "p@ss",
      query: { ref: "main", path: "a/b" },
      rawQuery: "ref=main&path=a%2Fb",
    });
  });

  test.each<[string, Partial<Location>]>([
    ["s3://My_Bucket/Prefix/", { host: "My_Bucket", pathname: "/Prefix/" }],
    ["s3://bucket", { host: "bucket", pathname: "/" }],
    [
      "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/name/a%20b/?versions=true",
      {
        host: "arn:aws:s3:eu-west-1:123456789012:accesspoint:name",
        port: undefined,
        pathname: "/a%20b/",
        query: { versions: "true" },
      },
    ],
    [
      "s3://arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:name",
      { host: "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:name", pathname: "/" },
    ],
    ["https://host", { host: "host", port: undefined, pathname: "/" }],
    ["file:///srv/a%20b", { scheme: "file", host: "", pathname: "/srv/a%20b" }],
    ["sftp://ann@[::1]:2222/x", { host: "[::1]", port: 2222, username: "ann" }],
    ["ftp://host/a?tls=explicit", { query: { tls: "explicit" } }],
    ["https://host/?a=1&a=2&b", { query: { a: "2", b: "" } }],
    ["https://:token@host/", { username: undefined, password: "token" }],
  ])("%s", (text, expected) => {
    expect(parseLocation(text)).toMatchObject(expected);
  });

  test.each([
    ["/srv/a b#c?d", "/srv/a b#c?d"],
    ["site", "/srv/site"],
    ["./a:b", "/srv/a:b"],
    ["./a/./b/../c", "/srv/a/b/../c"],
    [".", "/srv"],
    ["../up", "/srv/../up"],
    ["100%", "/srv/100%"],
  ])("a plain path %s is a file source at %s", (text, path) => {
    const location = parseLocation(text, "/srv");
    expect(location).toMatchObject({ scheme: "file", host: "", query: {}, rawQuery: "" });
    expect(decodedPath(location)).toBe(path);
  });

  test("a relative path is relative to the working directory", () => {
    expect(decodedPath(parseLocation("a"))).toBe(`${process.cwd()}/a`);
    expect(decodedPath(parseLocation(".", "/"))).toBe("/");
    expect(decodedPath(parseLocation("a", "/"))).toBe("/a");
  });

  test.each([
    ["", "the source is empty"],
    ["https:/host/x", '"https:" is not followed by "//"'],
    ["C:\\site", '"c:" is not followed by "//"'],
    ["https://host:port/", "not a URL that can be read"],
    ["https://", "not a URL that can be read"],
    ["git@host.example:org/repo.git", "neither a scheme nor the form of a path"],
    ["s3://bucket/a#b/", 'holds a "#"'],
    ["https://host/\r\nX: y", "a control character"],
    ["a\0b", "a control character"],
    ["s3://arn:aws:s3:::bucket/a/", "an ARN that names no access point"],
    ["s3://arn%3Aaws%3As3:::bucket/", "an ARN that names no access point"],
    ["s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/", "an ARN that names no access point"],
    [
      "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/a@b/",
      "an ARN that names no access point",
    ],
    ["s3://bucket%2Fother/", "a host that holds a special character"],
    ["git+http://good.example%40evil.example/x", "a host that holds a special character"],
    ["ftp://ann%0d%0aDELE%20x:pw@host/", "a control character in its user name or password"],
    ["ftp://ann:p%00w@host/", "a control character in its user name or password"],
    ["https://ann:100%@host/", "a percent sign that starts no escape"],
  ])("%j is refused", (text, message) => {
    const failure = failureOf(() => parseLocation(text));
    expect(failure).toBeInstanceOf(UsageError);
    expect(failure).toMatchObject({ message: expect.stringContaining(message) as string });
  });

  test("the form of scp is answered with the URL to write", () => {
    expect(failureOf(() => parseLocation("git@host:org/repo.git"))).toMatchObject({
      hint: expect.stringContaining("git+ssh://git@host/") as string,
    });
  });

  test("whatever is typed is a location or a UsageError", () => {
    const typed = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string().map((text) => `https://${text}`),
      fc.string().map((text) => `s3://b/${text}`),
      fc.string().map((text) => `s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/${text}`),
      fc
        .array(fc.constantFrom("a", ":", "/", "@", "%", "%2f", "[", "?", "#", "\ud800"), {
          maxLength: 12,
        })
        .map((parts) => `sftp://${parts.join("")}`),
    );
    fc.assert(
      fc.property(typed, (text) => {
        const failure = failureOf(() => redact(parseLocation(text, "/")));
        expect(failure === undefined || failure instanceof UsageError).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test("a message about what is wrong never holds the password", () => {
    for (const text of [
      "https://ann:s3cr3t@host:port/",
      "https://ann:s3cr3t#@host/",
      "https://ann:s3cr3t%0a@host/",
      "https://ann:s3cr3t@ho%20st/",
      "https:ann:s3cr3t@host/",
    ]) {
      const failure = failureOf(() => parseLocation(text)) as UsageError;
      expect(failure).toBeInstanceOf(UsageError);
      expect(`${failure.message} ${failure.hint}`).not.toContain("s3cr3t");
    }
  });
});

test("decodedPath refuses a NUL", () => {
  expect(failureOf(() => decodedPath(parseLocation("s3://b/a%00b")))).toBeInstanceOf(UsageError);
});

describe("redact", () => {
  test.each([
    ["https://ann:s3cr3t@host:8443/a/b.git?ref=main", "https://host:8443/a/b.git?ref=main"],
    [
      "https://host/x?ref=v1%2B2&X-Amz-Signature=s3cr3t",
      "https://host/x?ref=v1%2B2&X-Amz-Signature=***",
    ],
    ["https://host/x?s3cr3t", "https://host/x?***"],
    ["https://host/x?ref=https://ann:s3cr3t@host/", "https://host/x?ref=***"],
    ["https://host/x?ref=https://host/sums?sig=s3cr3t", "https://host/x?ref=***"],
    ["https://host/x?ref=https://host/sums", "https://host/x?ref=https%3A%2F%2Fhost%2Fsums"],
    ["s3://bucket/prefix/", "s3://bucket/prefix/"],
    ["/srv/a b", "file:///srv/a%20b"],
  ])("%s becomes %s", (text, expected) => {
    expect(redact(parseLocation(text), ["ref"])).toBe(expected);
  });

  test("hides user, password and every foreign value, whatever they are", () => {
    const secret = fc
      .string({
        unit: fc.constantFrom("x", "Q", "7", "@", ":", "/", "?", "&", "%", " "),
        minLength: 1,
      })
      .map((text) => `SECRET${text}`);
    fc.assert(
      fc.property(secret, secret, secret, (user, password, value) => {
        const [a, b, c] = [user, password, value].map(encodeURIComponent);
        const location = parseLocation(`https://${a}:${b}@host/path?ref=main&sig=${c}&${c}`);
        expect(location).toMatchObject({ username: user, password });
        expect(redact(location, ["ref"])).toBe("https://host/path?ref=main&sig=***&***");
      }),
    );
  });
});
