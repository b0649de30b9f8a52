/** Files as Traefik writes them, for tests that have no Traefik: `pkg/provider/acme` of Traefik 3. */

/** One certificate of such a file. */
export interface AcmeEntry {
  readonly names: readonly string[]
  readonly cert: string
  readonly key: string
}

/** The text of an acme.json: certificates by resolver. */
export function acmeJson(resolvers: Readonly<Record<string, readonly AcmeEntry[] | null>>): string {
  const base64 = (pem: string) => Buffer.from(pem).toString('base64')
  const stored = Object.entries(resolvers).map(([resolver, entries]) => [
    resolver,
    {
      Account: {
        Email: 'ops@example.com',
        Registration: { body: { status: 'valid' }, uri: 'https://ca.example/acct/1' },
        PrivateKey: base64('the key of the account'),
        KeyType: '4096',
      },
      Certificates:
        entries?.map(({ names: [main, ...sans], cert, key }) => ({
          domain: { main, ...(sans.length > 0 && { sans }) },
          certificate: base64(cert),
          key: base64(key),
          Store: 'default',
        })) ?? null,
    },
  ])
  return JSON.stringify(Object.fromEntries(stored), undefined, 2)
}
