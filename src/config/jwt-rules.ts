/** What the options for JWTs ask of each other. */
import type { SettingName, Settings } from './options.ts'

/** Finds what contradicts itself. `named` is an option as it was given. */
export function findJwtMistakes(
  { jwtIssuers, jwtAudience, jwtRequiredClaims, jwtJwks }: Settings,
  named: (name: SettingName) => string,
  add: (name: SettingName, message: string) => void,
): void {
  if (jwtIssuers.length === 0) {
    const given = { jwtAudience, jwtRequiredClaims, jwtJwks }
    for (const [name, values] of Object.entries(given))
      if (values.length > 0)
        add(
          name as keyof typeof given,
          `without an issuer; expected ${named('jwtIssuers')} as well`,
        )
    return
  }
  if (jwtAudience.length === 0) {
    add(
      'jwtIssuers',
      `expected ${named('jwtAudience')} as well: what its JWTs name as aud that are meant for this gateway`,
    )
  }
  for (const { issuer } of jwtJwks)
    if (!jwtIssuers.includes(issuer))
      add('jwtJwks', `${issuer} is no issuer; expected one of ${jwtIssuers.join(', ')}`)
}
