import tls from "node:tls";

/** What Node trusts by default, with `NODE_EXTRA_CA_CERTS` and `--use-system-ca` taken into account (Node ≥ 22.15). */
export function systemAuthorities(): readonly string[] {
  return tls.getCACertificates?.("default") ?? tls.rootCertificates;
}
