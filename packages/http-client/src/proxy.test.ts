import { inspect } from "node:util";
import { UsageError } from "@pannier/core/adapter";
import { expect, test } from "vitest";
import { proxyFor } from "./proxy.ts";

const proxied = (url: string, env: Record<string, string>) => proxyFor(new URL(url), env)?.host;

test("takes the variable of the URL's scheme, lower case first", () => {
  const env = { http_proxy: "http://low:1", HTTP_PROXY: "http://up:2", HTTPS_PROXY: "secure:3" };
  expect(proxied("http://host/", env)).toBe("low:1");
  expect(proxied("https://host/", env)).toBe("secure:3");
  expect(proxied("https://host/", { HTTP_PROXY: "http://up:2" })).toBeUndefined();
  expect(proxied("https://host/", { ALL_PROXY: "http://all:4" })).toBe("all:4");
  expect(proxied("http://host/", { http_proxy: "", HTTP_PROXY: "http://up:2" })).toBeUndefined();
});

test.each([
  ["example.com", "http://example.com/", true],
  ["example.com", "http://www.example.com/", true],
  ["example.com", "http://notexample.com/", false],
  [".example.com", "http://www.example.com/", true],
  ["*.example.com", "http://www.example.com/", true],
  ["*.example.com", "http://example.com/", false],
  ["EXAMPLE.com", "http://example.COM./", true],
  ["other,  example.com", "http://example.com/", true],
  ["example.com:8080", "http://example.com:8080/", true],
  ["example.com:8080", "http://example.com/", false],
  ["example.com:443", "https://example.com/", true],
  ["*", "http://anything/", true],
  ["10.0.0.0/8", "http://10.1.2.3/", true],
  ["10.0.0.0/8", "http://11.1.2.3/", false],
  ["10.0.0.0/99", "http://10.1.2.3/", false],
  ["::1", "http://[::1]:80/", true],
  ["fd00::/8", "http://[fd00::1]/", true],
  ["[::1]:81", "http://[::1]:81/", true],
  ["", "http://example.com/", false],
])("no_proxy=%s and %s", (list, url, exempt) => {
  expect(
    proxied(url, { http_proxy: "http://p:1", https_proxy: "http://p:1", no_proxy: list }),
  ).toBe(exempt ? undefined : "p:1");
});

test("refuses what is no HTTP proxy without showing it", () => {
  for (const value of ["socks5://me:s3cret@host", "http://me:s3cret@"]) {
    let error: unknown;
    try {
      proxied("http://host/", { http_proxy: value });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(UsageError);
    expect(inspect(error)).not.toContain("s3cret");
  }
});
