/**
 * The policies that the documentation tells operators to write, in Vault's own language. The tests run
 * with these and nothing more, so they are known to be enough.
 */

/** For the gateway: reads the token set. */
export const GATEWAY_POLICY = `path "secret/data/otel/tokens" {
  capabilities = ["read"]
}
`

/** For `tollgate rotate`: writes the token set, and puts tokens where agents read them. */
export const ROTATE_POLICY = `path "secret/data/otel/tokens" {
  capabilities = ["create", "read", "update"]
}
path "secret/data/otel/agents/*" {
  capabilities = ["create", "read", "update"]
}
`

/** For an agent: reads its own token. */
export const AGENT_POLICY = `path "secret/data/otel/agents/checkout" {
  capabilities = ["read"]
}
`
