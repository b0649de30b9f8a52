/** The rows of the table of options that say how places of tokens are reached. */
import { option } from './option.ts'
import { serverUrl } from './places.ts'
import { duration } from './quantities.ts'
import { name, path, secret } from './words.ts'

export const PLACE_OPTIONS = {
  awsPreviousMs: option({
    env: 'TOLLGATE_AWS_PREVIOUS_TIME',
    group: 'Tokens',
    kind: duration({ min: '0s', max: '365d' }),
    default: '7d',
    about:
      'How long the token of AWSPREVIOUS is accepted after another has become AWSCURRENT: AWS itself keeps it for ever.',
  }),
  headersFrom: option({
    env: 'TOLLGATE_HEADERS_FROM',
    group: 'Tokens',
    kind: name(),
    about:
      "On an agent's machine: where `tollgate headers` finds the agent's token. The gateway does not read it.",
  }),
  vaultAddr: option({
    env: 'TOLLGATE_VAULT_ADDR',
    group: 'Vault',
    kind: serverUrl('https://vault.example:8200'),
    about: 'Where HashiCorp Vault or OpenBao is.',
  }),
  vaultNamespace: option({
    env: 'TOLLGATE_VAULT_NAMESPACE',
    group: 'Vault',
    kind: name(),
    about: 'The namespace, where the server has several.',
  }),
  vaultCa: option({
    env: 'TOLLGATE_VAULT_CA',
    group: 'Vault',
    kind: path(),
    about: "PEM file with the CA of Vault, where the system's CAs do not know it.",
  }),
  vaultToken: option({
    env: 'TOLLGATE_VAULT_TOKEN',
    group: 'Vault',
    kind: secret('token'),
    isSecret: true,
    about: 'A token of Vault to work with; it is renewed.',
  }),
  vaultRoleId: option({
    env: 'TOLLGATE_VAULT_ROLE_ID',
    group: 'Vault',
    kind: name(),
    about: 'The role to log in as by AppRole.',
  }),
  vaultSecretId: option({
    env: 'TOLLGATE_VAULT_SECRET_ID',
    group: 'Vault',
    kind: secret('secret id'),
    isSecret: true,
    about: 'The secret id of the role.',
  }),
  vaultWrappedSecretId: option({
    env: 'TOLLGATE_VAULT_WRAPPED_SECRET_ID',
    group: 'Vault',
    kind: secret('token'),
    isSecret: true,
    about: 'A response-wrapping token around the secret id; it can be used once.',
  }),
  vaultJwtFile: option({
    env: 'TOLLGATE_VAULT_JWT_FILE',
    group: 'Vault',
    kind: path(),
    about: 'File with a JWT to log in with, as Kubernetes mounts it; read anew at each login.',
  }),
  vaultJwtRole: option({
    env: 'TOLLGATE_VAULT_JWT_ROLE',
    group: 'Vault',
    kind: name(),
    about: 'The role to log in as with the JWT.',
  }),
  vaultAuthMount: option({
    env: 'TOLLGATE_VAULT_AUTH_MOUNT',
    group: 'Vault',
    kind: name(),
    about: 'Where the method to log in is enabled: approle or jwt unless told; often kubernetes.',
  }),

  dokployUrl: option({
    env: 'TOLLGATE_DOKPLOY_URL',
    group: 'Tokens',
    kind: serverUrl('https://dokploy.example'),
    about: 'Where Dokploy is, for tokens that are delivered to services it runs.',
  }),
  dokployApiKey: option({
    env: 'TOLLGATE_DOKPLOY_API_KEY',
    group: 'Tokens',
    kind: secret('key'),
    isSecret: true,
    about: 'An API key of Dokploy, made without a rate limit.',
  }),
}
