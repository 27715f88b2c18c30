import { execFileSync } from "node:child_process";

/** An authority of our own, a certificate for 127.0.0.1 and one for a client, below `dir`. */
export function makeCertificates(dir: string): void {
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  openssl(
    "req",
    "-x509",
    ...newKey,
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-subj",
    "/CN=pannier test authority",
  );
  for (const [name, subject, extension] of [
    ["server", "/CN=127.0.0.1", "subjectAltName=IP:127.0.0.1"],
    ["client", "/CN=pannier test client", "extendedKeyUsage=clientAuth"],
  ] as const) {
    openssl(
      "req",
      "-x509",
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      ...newKey,
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.pem`,
      "-subj",
      subject,
      "-addext",
      extension,
      "-addext",
      "basicConstraints=critical,CA:FALSE",
    );
  }
}

/** A certificate of {@link makeCertificates}' authority whose time is over: `expired.pem`, `expired.key`. */
export function makeExpired(dir: string): void {
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  openssl(
    "req",
    "-new",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-keyout",
    "expired.key",
    "-out",
    "expired.csr",
    "-subj",
    "/CN=127.0.0.1",
    "-addext",
    "subjectAltName=IP:127.0.0.1",
  );
  openssl(
    "x509",
    "-req",
    "-in",
    "expired.csr",
    "-CA",
    "ca.pem",
    "-CAkey",
    "ca.key",
    "-copy_extensions",
    "copy",
    "-out",
    "expired.pem",
    "-days",
    "-1",
  );
}
